// An SD-JWT VC (RFC 9901) for what oidc-provider's OpenID4VCI endpoint has verified a proof for.

import * as crypto from 'node:crypto';

import { decodeProtectedHeader, importJWK, SignJWT } from 'jose';

const claims = { given_name: 'Alice', family_name: 'Example', email: 'alice@example.test', age_over_18: true };

function disclosure(name, value) {
  return Buffer.from(JSON.stringify([crypto.randomBytes(16).toString('base64url'), name, value])).toString('base64url');
}

async function credential(issuer, key, holder) {
  const disclosures = Object.entries(claims).map(([name, value]) => disclosure(name, value));
  const digests = disclosures.map((text) => crypto.createHash('sha256').update(text).digest('base64url')).sort();
  const signed = await new SignJWT({ vct: `${issuer}/vct/identity`, _sd: digests, _sd_alg: 'sha-256', cnf: { jwk: holder } })
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'dc+sd-jwt' })
    .setIssuer(issuer).setIssuedAt().setExpirationTime('1h')
    .sign(await importJWK(key, key.alg));
  return [signed, ...disclosures, ''].join('~');
}

export async function issueCredential(issuer, key, { proofs }) {
  const holders = (proofs?.jwt ?? []).map((proof) => decodeProtectedHeader(proof).jwk);
  return { credentials: await Promise.all(holders.map(async (holder) => ({ credential: await credential(issuer, key, holder) }))) };
}
