// Reads requests as a server saw them, and says of each what code of AWS's (smithy) and of the package aws4 finds wrong.
// In is {keys, requests: [{method, host, target, headers, body (base64), service, region}]}; out is a list of lists.
import { createECDH, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import aws4 from "aws4";
import sha256js from "@aws-crypto/sha256-js";
import eventstream from "@smithy/eventstream-codec";
import signatureV4 from "@smithy/signature-v4";
import signatureV4a from "@smithy/signature-v4a";

const { keys, requests } = JSON.parse(readFileSync(0, "utf8"));
const credentials = { accessKeyId: keys.id, secretAccessKey: keys.secret, sessionToken: keys.token ?? undefined };
const sha256 = sha256js.Sha256;
const OURS = new Set(["authorization", "x-amz-date", "x-amz-security-token", "x-amz-region-set"]);

function parsed({ target, headers, body }) {
  const [path, query = ""] = target.split("?");
  const pairs = {};
  for (const piece of query.split("&").filter(Boolean)) {
    const [name, value = ""] = piece.split("=").map(decodeURIComponent);
    pairs[name] = name in pairs ? [pairs[name], value].flat() : value;
  }
  const joined = {};
  for (const [name, value] of headers) joined[name] = name in joined ? `${joined[name]},${value}` : value;
  return { path, pairs, headers: joined, body: Buffer.from(body, "base64") };
}

const when = (stamp) => new Date(stamp.replace(/(....)(..)(..T..)(..)(..Z)/, "$1-$2-$3:$4:$5"));
const signedNames = (text) => /SignedHeaders=([^,]+)/.exec(text)[1].split(";");
const signatureOf = (text) => /Signature=([0-9a-f]+)/.exec(text)[1];

function only(headers, names, gone) {
  return Object.fromEntries(names.filter((name) => !gone.has(name)).map((name) => [name, headers[name]]));
}

// What smithy signs the same request with. Its own headers are put there by itself.
async function smithy(request, seen) {
  const given = seen.headers.authorization;
  const signer = new signatureV4.SignatureV4({
    credentials, sha256, region: request.region, service: request.service, applyChecksum: false,
    uriEscapePath: !request.service.startsWith("s3"),
  });
  const made = await signer.sign(
    {
      method: request.method, protocol: "https:", hostname: request.host, path: seen.path, query: seen.pairs,
      headers: only(seen.headers, signedNames(given), OURS), body: seen.body,
    },
    { signingDate: when(seen.headers["x-amz-date"]) },
  );
  return made.headers.authorization === given ? [] : [`smithy: ${made.headers.authorization}`];
}

// aws4 signs what it is given; a presigned query keeps what says when and for how long.
function old(request, seen) {
  const presigned = "X-Amz-Signature" in seen.pairs;
  const gone = /^X-Amz-(?:Signature|Credential|SignedHeaders|Algorithm|Security-Token)=/;
  const query = (request.target.split("?")[1] ?? "").split("&").filter((piece) => piece && !gone.test(piece)).join("&");
  const names = presigned ? seen.pairs["X-Amz-SignedHeaders"].split(";") : signedNames(seen.headers.authorization);
  const signer = new aws4.RequestSigner(
    {
      method: request.method, host: request.host, path: query ? `${seen.path}?${query}` : seen.path, service: request.service,
      headers: only(seen.headers, names, new Set()), body: seen.body, region: request.region, signQuery: presigned, doNotModifyHeaders: true,
    },
    credentials,
  );
  signer.datetime = seen.headers["x-amz-date"];
  const made = signer.sign();
  const found = presigned ? /X-Amz-Signature=([0-9a-f]+)/.exec(made.path)[1] : signatureOf(made.headers.Authorization);
  const wanted = presigned ? seen.pairs["X-Amz-Signature"] : signatureOf(seen.headers.authorization);
  return found === wanted ? [] : [`aws4: ${found}`];
}

// SigV4A signatures differ each time: smithy derives the key and writes the text, Node verifies.
async function asymmetric(request, seen) {
  const given = seen.headers.authorization;
  let good = false;
  class Judge extends signatureV4a.SignatureV4a {
    async getSignature(key, text) {
      good = verified(key, text, signatureOf(given));
      return "";
    }
  }
  const signer = new Judge({
    credentials, sha256, region: seen.headers["x-amz-region-set"], service: request.service, applyChecksum: false,
    uriEscapePath: !request.service.startsWith("s3"),
  });
  await signer.sign(
    {
      method: request.method, protocol: "https:", hostname: request.host, path: seen.path, query: seen.pairs,
      headers: only(seen.headers, signedNames(given), OURS), body: seen.body,
    },
    { signingDate: when(seen.headers["x-amz-date"]) },
  );
  return good ? [] : ["smithy: SigV4A"];
}

function verified(key, text, signature) {
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(Buffer.from(key));
  const point = pair.getPublicKey();
  const jwk = { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url") };
  return verify("sha256", Buffer.from(text), createPublicKey({ key: jwk, format: "jwk" }), Buffer.from(signature, "hex"));
}

// Each message is read by smithy's codec and signed once more by smithy's signer.
async function events(request, seen) {
  const text = (bytes) => Buffer.from(bytes).toString("utf8");
  const codec = new eventstream.EventStreamCodec(text, (string) => Buffer.from(string, "utf8"));
  const signer = new signatureV4.SignatureV4({ credentials, sha256, region: request.region, service: request.service });
  let prior = signatureOf(seen.headers.authorization);
  const wrong = [];
  for (let at = 0; at < seen.body.length; ) {
    const length = seen.body.readUInt32BE(at);
    const message = codec.decode(seen.body.subarray(at, at + length));
    at += length;
    const date = message.headers[":date"];
    const headers = codec.formatHeaders({ ":date": date });
    prior = await signer.sign({ headers, payload: message.body }, { signingDate: date.value, priorSignature: prior });
    if (Buffer.from(message.headers[":chunk-signature"].value).toString("hex") !== prior) wrong.push(`smithy: event at ${at}`);
  }
  return wrong;
}

const verdicts = [];
for (const request of requests) {
  const seen = parsed(request);
  const algorithm = seen.headers.authorization?.split(" ")[0];
  const found = [];
  if (algorithm === "AWS4-ECDSA-P256-SHA256") found.push(...(await asymmetric(request, seen)));
  if (algorithm === "AWS4-HMAC-SHA256") found.push(...(await smithy(request, seen)));
  if (algorithm !== "AWS4-ECDSA-P256-SHA256") found.push(...old(request, seen));
  if (seen.headers["x-amz-content-sha256"] === "STREAMING-AWS4-HMAC-SHA256-EVENTS") found.push(...(await events(request, seen)));
  verdicts.push(found);
}
console.log(JSON.stringify(verdicts));
