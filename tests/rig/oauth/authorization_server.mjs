// A certified authorization server (oidc-provider) and a resource server (resource_server.mjs) with TLS on loopback.
// Its settings come as JSON on standard input; it prints one line of JSON once it listens, and ends with that input.

import * as crypto from 'node:crypto';
import * as https from 'node:https';
import { readFileSync } from 'node:fs';

import { exportJWK, generateKeyPair } from 'jose';
import { errors, Provider } from 'oidc-provider';

import { readJson, Rig } from './control.mjs';
import { issueCredential } from './issuance.mjs';
import { resourceServer } from './resource_server.mjs';

console.info = console.error; // standard output is for one line
const lines = process.stdin[Symbol.asyncIterator]();
const settings = await readJson(lines);
const { host } = settings;

const tls = {
  key: readFileSync(settings.tls), cert: readFileSync(settings.tls), ca: readFileSync(settings.client_ca),
  requestCert: true, rejectUnauthorized: false,
};

async function signingKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: crypto.randomUUID() };
}

function listening(server) {
  return new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(server.address().port)); });
}

const rig = new Rig();
let serve;
const server = https.createServer(tls, (request, response) => serve(request, response));
const issuer = `https://${host}:${await listening(server)}`;
const resource = https.createServer(tls);
const resourceBase = `https://${host}:${await listening(resource)}`;

function certificate(ctx) {
  return ctx.socket.getPeerX509Certificate();
}

const described = {
  [resourceBase]: { scope: 'read write admin', ttl: 600 },
  [`${resourceBase}/short`]: { scope: 'read write admin', ttl: settings.short_ttl_s },
  [`${resourceBase}/opaque`]: { scope: 'read write', ttl: 600, format: 'opaque' },
  ...settings.resources,
};

const detailsOf = (ctx) => (ctx.oidc.params.authorization_details === undefined
  ? undefined : JSON.parse(ctx.oidc.params.authorization_details));

const provider = new Provider(issuer, {
  clients: settings.clients,
  jwks: { keys: [await signingKey('ES256'), await signingKey('RS256')] },
  cookies: { keys: [crypto.randomBytes(16).toString('hex')] },
  scopes: ['openid', 'offline_access', 'read', 'write', 'admin'],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  claims: { openid: ['sub', 'groups', 'email'] },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...settings.people[sub] }) }),
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  // RFC 9470, section 6.1: when the person logged in, where a person has.
  extraTokenClaims: (ctx) => {
    const { authTime } = ctx.oidc.entities.AuthorizationCode ?? ctx.oidc.entities.RefreshToken ?? {};
    return authTime === undefined ? undefined : { auth_time: authTime };
  },
  rotateRefreshToken: settings.rotate_refresh_tokens,
  ttl: {
    AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 600,
    ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 600,
    RefreshToken: 3600, AuthorizationCode: 60, DeviceCode: settings.device_code_ttl_s, PreAuthorizedCode: 600, Grant: 3600, Session: 3600, Interaction: 600, IdToken: 600,
  },
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none',
  ],
  enabledJWA: { dPoPSigningAlgValues: ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA', 'Ed25519'] },
  features: {
    dPoP: { enabled: true, nonceSecret: crypto.randomBytes(32), requireNonce: () => settings.require_dpop_nonce },
    mTLS: {
      enabled: true, certificateBoundAccessTokens: true, tlsClientAuth: true, selfSignedTlsClientAuth: true,
      getCertificate: certificate,
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
        && certificate(ctx).subjectAltName === `DNS:${expected}`,
    },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    requestObjects: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, indicator) => {
        const known = described[indicator] ?? (indicator === `${issuer}/credential` ? { scope: 'identity', ttl: 600 } : undefined);
        if (known === undefined) throw new errors.InvalidTarget();
        const format = known.format ?? (indicator === `${issuer}/credential` ? 'opaque' : 'jwt');
        return {
          scope: known.scope, audience: indicator, accessTokenTTL: known.ttl, accessTokenFormat: format,
          ...(format === 'jwt' ? { jwt: { sign: { alg: 'ES256' } } } : {}),
        };
      },
    },
    richAuthorizationRequests: {
      enabled: true,
      types: { payment: { validate() {} }, files: { validate() {} } },
      authorizationDetailsForGrantSource: (ctx) => ctx.oidc.grant?.rar ?? detailsOf(ctx),
      // What it grants for `files` is less than what may be asked: nobody writes.
      authorizationDetailsForAccessToken: (ctx, _token, source) => (source?.rar ?? detailsOf(ctx))?.map((detail) => (
        detail.type === 'files' ? { ...detail, actions: (detail.actions ?? []).filter((a) => a !== 'write') } : detail)),
      authorizationDetailsForIntrospection: (_ctx, token) => token.rar,
    },
    openid4vci: {
      enabled: true, ack: 'experimental-01', nonceSecret: crypto.randomBytes(32), preAuthorizedCodeGrant: true,
      credentialConfigurationsSupported: {
        identity: {
          format: 'dc+sd-jwt', vct: `${issuer}/vct/identity`, scope: 'identity',
          cryptographic_binding_methods_supported: ['jwk'],
          credential_signing_alg_values_supported: ['ES256'],
          proof_types_supported: { jwt: { proof_signing_alg_values_supported: ['ES256'] } },
        },
      },
      issueCredential: (_ctx, asked) => issueCredential(issuer, vcKey, asked),
    },
  },
});
const vcKey = await signingKey('ES256');

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/device/auth' && ctx.body?.device_code) ctx.body.interval = settings.device_interval_s;
});
provider.on('server_error', (_ctx, error) => { process.stderr.write(`${error.stack}\n`); });

// An offer for OpenID4VCI: a grant that somebody has already authorized.
rig.control('/rig/offer', async ({ client_id: clientId, account = 'alice', tx_code: txCode }) => {
  const grant = new provider.Grant({ accountId: account, clientId });
  grant.addResourceScope(`${issuer}/credential`, 'identity');
  const grantId = await grant.save();
  const code = new provider.PreAuthorizedCode({
    client: await provider.Client.find(clientId), accountId: account, grantId, scope: 'identity', resource: `${issuer}/credential`, txCode,
  });
  return {
    credential_issuer: issuer, credential_configuration_ids: ['identity'],
    grants: {
      'urn:ietf:params:oauth:grant-type:pre-authorized_code': {
        'pre-authorized_code': await code.save(), ...(txCode ? { tx_code: { length: txCode.length } } : {}),
      },
    },
  };
});
// The keys of the credential issuer, as its own document (SD-JWT VC issuer metadata).
rig.page('/.well-known/jwt-vc-issuer', () => {
  const { d, ...open } = vcKey;
  return { issuer, jwks: { keys: [open] } };
});
// A refresh token ends although nobody has used it.
rig.control('/rig/revoke', async ({ refresh_token: value }) => {
  const token = await provider.RefreshToken.find(value);
  await token?.destroy();
  return { revoked: token !== undefined };
});

serve = rig.around(provider.callback());
const { client_id: id, client_secret: secret } = settings.clients.find((one) => one.client_id === 'machine');
resource.on('request', resourceServer({ issuer, base: resourceBase, client: { id, secret }, rig: new Rig() }));
process.stdout.write(`${JSON.stringify({ issuer, resource: resourceBase })}\n`);
await lines.next();
process.exit(0);
