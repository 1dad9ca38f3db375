// A resource server that takes JWT access tokens of one issuer, verified by oauth4webapi: signature, audience, expiry,
// DPoP proof (certificate binding: by jose); and, by itself, nonces that change, replayed proofs, tokens that were withdrawn.
//
//   /dpop/...          only DPoP-bound tokens, with a nonce of ours       /mtls/...    only certificate-bound ones
//   /scope/NAME/...    needs that scope                                  /short/...   is the audience BASE/short
//   /details/TYPE/ACTION   needs an authorization detail of that type with that action (RFC 9396)
//   /fresh/SECONDS/... needs a login that is not older (RFC 9470)
//   /opaque/...        takes tokens that it cannot read: it asks the issuer about them (RFC 7662); bound to a DPoP key
//   /sealed/...        the same, bound to a certificate
//   /hidden/...        has its metadata where only its 401 says      /foreign/...  names another authorization server
//   /echo/...          answers with the Authorization header it got: the careless provider
//   anything else      takes whatever the token says it is

import * as crypto from 'node:crypto';

import { calculateJwkThumbprint, createRemoteJWKSet, decodeJwt, decodeProtectedHeader, EmbeddedJWK, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';

function thumbprint(certificate) {
  return crypto.createHash('sha256').update(certificate.raw).digest('base64url');
}

function proofOf(request) {
  try {
    return JSON.parse(Buffer.from(String(request.headers.dpop).split('.')[1], 'base64url'));
  } catch {
    return {};
  }
}

export function resourceServer({ issuer, base, client, rig }) {
  const as = { issuer, jwks_uri: `${issuer}/jwks`, introspection_endpoint: `${issuer}/token/introspection` };
  const used = new Set();
  const withdrawn = new Set();
  const accepted = new Set();
  let nonces = [crypto.randomUUID()];

  const keys = createRemoteJWKSet(new URL(as.jwks_uri));
  const tokenOf = (request) => String(request.headers.authorization).split(' ')[1] ?? '';

  function bound(request) {
    try {
      return decodeJwt(tokenOf(request)).cnf?.['x5t#S256'] !== undefined;
    } catch {
      return false;
    }
  }

  // oauth4webapi knows no certificates.
  async function boundClaims(request, audience) {
    const { payload } = await jwtVerify(tokenOf(request), keys, { issuer, audience, typ: 'at+jwt', requiredClaims: ['exp', 'sub'] });
    const certificate = request.socket.getPeerX509Certificate();
    if (certificate === undefined || thumbprint(certificate) !== payload.cnf['x5t#S256']) throw new Error('certificate');
    return payload;
  }

  async function openClaims(request, url, audience, requireDPoP) {
    const { authorization, dpop } = request.headers;
    const headers = { authorization, ...(dpop === undefined ? {} : { dpop }) };
    return oauth.validateJwtAccessToken(as, new Request(url, { method: request.method, headers }), audience, { requireDPoP });
  }

  // What the issuer says about a token that cannot be read; it has to be bound to the certificate, or the key of the proof.
  async function opaqueClaims(request, url, audience) {
    const asking = oauth.introspectionRequest(as, { client_id: client.id }, oauth.ClientSecretBasic(client.secret), tokenOf(request));
    const claims = await oauth.processIntrospectionResponse(as, { client_id: client.id }, await asking);
    if (!claims.active || claims.aud !== audience) throw new Error('not active, or for somebody else');
    if (url.pathname.startsWith('/sealed/')) {
      const certificate = request.socket.getPeerX509Certificate();
      if (certificate === undefined || thumbprint(certificate) !== claims.cnf?.['x5t#S256']) throw new Error('certificate');
      return claims;
    }
    const proof = String(request.headers.dpop);
    const { payload } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt' });
    const hash = crypto.createHash('sha256').update(tokenOf(request)).digest('base64url');
    if (await calculateJwkThumbprint(decodeProtectedHeader(proof).jwk) !== claims.cnf?.jkt) throw new Error('another key');
    if (payload.ath !== hash || payload.htm !== request.method || payload.htu !== `${base}${url.pathname}`) throw new Error('proof');
    return claims;
  }

  rig.control('/rig/nonce', async () => { nonces = [crypto.randomUUID()]; return {}; });
  rig.control('/rig/withdraw', async () => {
    for (const jti of accepted) withdrawn.add(jti);
    return { withdrawn: withdrawn.size };
  });
  let issuers = [issuer];
  rig.control('/rig/issuers', async (named) => { issuers = named; return {}; });
  const about = (path, more) => () => ({
    resource: base + path, authorization_servers: issuers, scopes_supported: ['read', 'write', 'admin'],
    bearer_methods_supported: ['header'], ...more,
  });
  rig.page('/.well-known/oauth-protected-resource', about(''));
  rig.page('/.well-known/oauth-protected-resource/short', about('/short'));
  rig.page('/metadata/hidden', about('/hidden'));
  rig.page('/.well-known/oauth-protected-resource/foreign', about('/foreign', { authorization_servers: ['https://other.example'] }));
  rig.page('/.well-known/oauth-protected-resource/bound', about('/bound', { dpop_bound_access_tokens_required: true }));

  function refuse(response, status, scheme, parameters, hidden = false) {
    const place = hidden ? '/metadata/hidden' : '/.well-known/oauth-protected-resource';
    const all = { ...parameters, resource_metadata: base + place };
    const text = Object.entries(all).map(([name, value]) => `${name}="${value}"`).join(', ');
    response.setHeader('www-authenticate', `${scheme} ${text}`);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: parameters.error ?? 'unauthorized' }));
  }

  return rig.around(async (request, response) => {
    const url = new URL(request.url, base);
    const [, first, second, third] = url.pathname.split('/');
    const scheme = String(request.headers.authorization ?? '').split(' ')[0].toLowerCase();
    const wantsProof = ['dpop', 'opaque'].includes(first) || scheme === 'dpop';
    const shown = wantsProof ? 'DPoP' : 'Bearer';
    if (!request.headers.authorization) return refuse(response, 401, shown, {}, first === 'hidden');
    if (wantsProof) response.setHeader('dpop-nonce', nonces.at(-1));
    let claims;
    try {
      const opaque = ['opaque', 'sealed'].includes(first);
      const audience = opaque ? `${base}/opaque` : base + (first === 'short' ? '/short' : '');
      if (opaque) claims = await opaqueClaims(request, url, audience);
      else claims = bound(request) ? await boundClaims(request, audience) : await openClaims(request, url, audience, wantsProof);
      if (withdrawn.has(claims.jti)) throw new Error('withdrawn');
      if (first === 'mtls' && !bound(request)) throw new Error('not bound to a certificate');
      if (claims.cnf?.jkt !== undefined && !wantsProof) throw new Error('not a bearer token');
    } catch (error) {
      rig.requests.at(-1).refused = String(error.message);
      return refuse(response, 401, shown, { error: 'invalid_token' });
    }
    if (wantsProof) {
      const { jti, nonce } = proofOf(request);
      if (!nonces.includes(nonce)) return refuse(response, 401, 'DPoP', { error: 'use_dpop_nonce' });
      if (used.has(jti)) return refuse(response, 401, 'DPoP', { error: 'invalid_dpop_proof' });
      used.add(jti);
    }
    const scopes = String(claims.scope ?? '').split(' ');
    if (first === 'scope' && !scopes.includes(second)) {
      return refuse(response, 403, shown, { error: 'insufficient_scope', scope: second });
    }
    if (first === 'details' && !claims.authorization_details?.some(({ type, actions }) => type === second && actions?.includes(third))) {
      return refuse(response, 403, shown, { error: 'insufficient_authorization_details' });
    }
    if (first === 'fresh' && !(claims.auth_time >= Math.floor(Date.now() / 1000) - Number(second))) {
      return refuse(response, 401, shown, { error: 'insufficient_user_authentication', max_age: second });
    }
    accepted.add(claims.jti);
    const { sub, client_id: client, scope, cnf, aud, authorization_details: details, auth_time } = claims;
    const told = { method: request.method, path: request.url, body: request.body.toString('latin1'), scheme, sub, client, scope, cnf, aud, details, auth_time };
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end(JSON.stringify(first === 'echo' ? { ...told, authorization: request.headers.authorization } : told));
  });
}
