// A verifier (OpenID4VP) by @openid4vc/openid4vp: one JSON line in, one JSON line out. Python serves it over TLS.
import { createInterface } from 'node:readline'
import { webcrypto, X509Certificate } from 'node:crypto'
import { Openid4vpVerifier } from '@openid4vc/openid4vp'
import { compactDecrypt, importJWK, SignJWT } from 'jose'

const state = {}
const callbacks = {
  hash: async (data, alg) => new Uint8Array(await webcrypto.subtle.digest(alg.toUpperCase().replace('SHA', 'SHA'), data)),
  signJwt: async (_signer, { header, payload }) => {
    const key = await importJWK(state.key, 'ES256')
    return { jwt: await new SignJWT(payload).setProtectedHeader(header).sign(key), signerJwk: state.publicKey }
  },
  decryptJwe: async (jwe) => {
    try {
      const { plaintext } = await compactDecrypt(jwe, await importJWK(state.encryption, 'ECDH-ES'))
      return { decrypted: true, payload: new TextDecoder().decode(plaintext), decryptionJwk: state.encryptionPublic }
    } catch {
      return { decrypted: false }
    }
  },
  verifyJwt: async () => ({ verified: false }),
  encryptJwe: async () => { throw new Error('not used') },
}
const verifier = new Openid4vpVerifier({ callbacks })

const operations = {
  async request({ key, publicKey, x5c, payload, requestUri, encryption, encryptionPublic, wallet }) {
    Object.assign(state, { key, publicKey, encryption, encryptionPublic })
    if (x5c) new X509Certificate(Buffer.from(x5c[0], 'base64'))
    const made = await verifier.createOpenId4vpAuthorizationRequest({
      authorizationRequestPayload: payload,
      jar: { requestUri, jwtSigner: { method: 'x5c', x5c, alg: 'ES256' }, expiresInSeconds: 60 },
      ...(wallet ? { wallet } : {}),
    })
    state.payload = made.authorizationRequestPayload.request_uri ? made.jar.authorizationRequestPayload ?? payload : payload
    state.payload = payload
    return { url: made.authorizationRequest, object: made.jar.authorizationRequestJwt }
  },
  async response({ form, ...given }) {
    const parsed = await verifier.parseOpenid4vpAuthorizationResponse({
      authorizationResponse: form,
      authorizationRequestPayload: state.payload,
      callbacks,
    })
    const transactions = given.kb && (await verifier.verifyTransactionData({
      transactionData: state.payload.transaction_data,
      credentials: { staff: [given.kb] },
    }))
    return { transactions: transactions?.length, type: parsed.type, presentations: parsed.dcql?.presentations, nonce: parsed.expectedNonce, jarm: parsed.jarm?.type }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...given } = JSON.parse(line)
  let answer
  try {
    answer = await operations[op](given)
  } catch (error) {
    answer = { error: `${error}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
