// Reads {url, method, headers, jwk} and says whether the request is signed with the key.
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createVerifier, httpbis } from "http-message-signatures";

const { url, method, headers, jwk } = JSON.parse(readFileSync(0, "utf8"));
const verify = createVerifier(createPublicKey({ key: jwk, format: "jwk" }), "ed25519");
const keyLookup = async ({ keyid }) => ({ id: keyid, algs: ["ed25519"], verify });
const good = await httpbis.verifyMessage({ keyLookup }, { url, method, headers });
console.log(good ? "verified" : "refused");
