// Failures of the network in words.

/** Why a source could not be fetched, and for how long its server wants no other request. */
export class Failure extends Error {
  readonly hint: string | undefined
  /** Milliseconds for which the server wants no other request. */
  readonly pauseMs: number | undefined

  constructor(message: string, hint?: string, pauseMs?: number) {
    super(message)
    this.hint = hint
    this.pauseMs = pauseMs
  }
}

const AUTHORITY = 'the server has a certificate of an authority that is not trusted; for your own write `ca: FILE`'

const TLS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: AUTHORITY,
  CERT_HAS_EXPIRED: 'the server must renew its certificate; also check the clock of this host: date',
  CERT_NOT_YET_VALID: 'check the clock of this host: date',
  ERR_TLS_CERT_ALTNAME_INVALID: 'check the host in the URL: the certificate is for another one',
}

const NETWORK: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its host has no address in DNS',
  EAI_AGAIN: 'DNS does not answer',
  ECONNREFUSED: 'its host refuses the connection',
  ECONNRESET: 'the connection ended before the list was complete',
  ETIMEDOUT: 'its host does not answer',
  EHOSTUNREACH: 'its host cannot be reached',
  ENETUNREACH: 'there is no route to its host',
  Z_DATA_ERROR: 'its content is damaged gzip',
  Z_BUF_ERROR: 'its content is cut off gzip',
}

/** An error of a request as a failure. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error
  const { code = '', message = String(error), errors } = error as NodeJS.ErrnoException & { errors?: readonly Error[] }
  // With several addresses each has an error; the first says enough.
  if (errors?.[0]) return failureOf(errors[0])
  const hint = TLS[code]
  if (hint !== undefined) return new Failure(`its certificate is not accepted: ${message}`, hint)
  return new Failure(NETWORK[code] ?? (code === '' ? message : `${message} (${code})`))
}
