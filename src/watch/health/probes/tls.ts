// TLS of checks: the name that the backend is asked for, and its certificate is verified for.

import { isIP } from 'node:net'
import { type ConnectionOptions, checkServerIdentity, createSecureContext, type SecureContext } from 'node:tls'
import type { GrpcsCheck, HttpsCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import type { Trust } from './trust.ts'

/** The name in a Host header, undefined for an address (which RFC 6066 §3 keeps out of SNI). */
function nameOf(host: string | undefined): string | undefined {
  const name = host?.replace(/:\d*$/, '')
  return name === undefined || name === '' || name.startsWith('[') || isIP(name) !== 0 ? undefined : name
}

/** The TLS context without trusted certificates, for `verify: false`. */
let unverified: SecureContext | undefined

/** Options for a TLS connection. Throws where the bundle of certificates is unreadable. */
export function tlsOptions({ host, sni, verify, address }: HttpsCheck | GrpcsCheck, trust: Trust): ConnectionOptions {
  const name = sni ?? nameOf(host)
  unverified ??= createSecureContext()
  return {
    // An empty name sends no SNI.
    servername: name ?? '',
    rejectUnauthorized: verify,
    secureContext: verify ? trust.context() : unverified,
    checkServerIdentity: (_: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
      checkServerIdentity(name ?? formatAddress(address.family, address.words), certificate),
  }
}
