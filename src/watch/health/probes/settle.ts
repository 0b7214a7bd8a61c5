// Shared by all probes: ending once, and translating socket errors into results.

import { bad, type Result, unknown } from '../standing.ts'

/** The end of a probe: the first call of `finish` or `abandon` closes it, later calls do nothing. */
export interface Ending {
  readonly finish: (result: Result) => void
  readonly abandon: () => void
}

export function endOnce(close: () => void, done: (result: Result) => void): Ending {
  let isOpen = true
  const end = (result?: Result): void => {
    if (!isOpen) return
    isOpen = false
    close()
    if (result) done(result)
  }
  return { finish: end, abandon: () => end() }
}

/** errno(3) codes for problems of this host, which say nothing about the backend. */
const OWN_TROUBLE: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: 'no free port to connect from',
  EAGAIN: 'no free port to connect from',
  EMFILE: 'too many open files in this process',
  ENFILE: 'too many open files on this host',
  ENOBUFS: 'no memory for sockets',
  ENOMEM: 'no memory',
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  EPIPE: 'connection closed',
  ETIMEDOUT: 'connection timed out',
  EACCES: 'forbidden by a rule of this host',
  EPERM: 'forbidden by a rule of this host',
}

/** Of certificates, by X509_V_ERR_* of OpenSSL as Node names them. */
const CERTIFICATE_WORDS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_REVOKED: 'the certificate is revoked',
  CERT_SIGNATURE_FAILURE: 'the signature of the certificate is wrong',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is signed by an authority that this host does not trust',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate of an issuer is missing',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is signed by an authority that this host does not trust',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'the certificate is signed by an unknown issuer, or the server does not send the chain',
}

/** Of handshakes, by the reason in an error of OpenSSL. */
const HANDSHAKE_WORDS: readonly (readonly [RegExp, string])[] = [
  [/wrong version number|packet length too long|record layer failure|http request/i, 'the answer is not TLS'],
  [/alert protocol version|unsupported protocol/i, 'the server offers no version of TLS that this host accepts'],
  [
    /alert handshake failure|no shared cipher/i,
    'the server refused the TLS handshake (no cipher or no certificate in common)',
  ],
  [/alert unrecognized name/i, 'the server does not know the name in SNI'],
  [/alert certificate required|alert bad certificate/i, 'the server wants a certificate of the client'],
]

/** Names in an error of a certificate for other names. */
function otherNames({ host, cert }: TlsError): string {
  const names = cert?.subjectaltname?.replace(/(?:DNS|IP Address):/g, '') || cert?.subject?.CN
  return `the certificate is for ${names ?? 'another name'}, not for ${host ?? 'this name'}`
}

/** The fields of errors of node:tls. */
interface TlsError extends Error {
  readonly code?: unknown
  readonly syscall?: unknown
  readonly host?: string
  readonly cert?: { readonly subjectaltname?: string; readonly subject?: { readonly CN?: string } }
  /** Of a parser: the bytes that it could not parse. */
  readonly rawPacket?: Uint8Array
}

/** First byte of a TLS record with an alert (RFC 8446 §5.1), with which a TLS server answers an HTTP request. */
const TLS_ALERT = 0x15

/** Translates an error of TLS; undefined for others. */
function tlsWords(error: TlsError, code: string): string | undefined {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return plain(otherNames(error))
  const known = CERTIFICATE_WORDS[code]
  if (known !== undefined) return known
  if (/disconnected before secure TLS connection/.test(error.message))
    return 'connection closed during the TLS handshake'
  if (code !== 'EPROTO' && !code.startsWith('ERR_SSL_')) return undefined
  return (
    HANDSHAKE_WORDS.find(([reason]) => reason.test(error.message))?.[1] ??
    `the TLS handshake failed: ${plain(error.message)}`
  )
}

/** Translates an error into a result. */
export function failed(error: TlsError): Result {
  const code = typeof error.code === 'string' ? error.code : ''
  const trouble = OWN_TROUBLE[code]
  if (trouble !== undefined) return unknown(`${trouble} (${code})`)
  const words = tlsWords(error, code)
  if (words !== undefined) return bad(words)
  if (code.startsWith('HPE_') && error.rawPacket?.[0] === TLS_ALERT)
    return bad('the answer is TLS, not HTTP: use `type: https`')
  if (code === 'HPE_HEADER_OVERFLOW') return bad('the answer has too many headers')
  if (code.startsWith('HPE_')) return bad(`the answer is not HTTP (${code})`)
  // Node reports ECONNRESET also for a connection that was closed in order; then no system call failed.
  if (code === 'ECONNRESET' && error.syscall === undefined) return bad('connection closed before the end of the answer')
  return bad(WORDS[code] ?? plain(error.message || code || 'failed'))
}

/** Most characters of a reason, which goes into logs and tables. */
const LONGEST = 200

/** Text of a peer or a command as one printable line. */
export function plain(text: string): string {
  // Control and format characters, line and paragraph separators, lone surrogates, private use.
  const line = text.replace(/[\p{C}\p{Z}]+/gu, ' ').trim()
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line
}
