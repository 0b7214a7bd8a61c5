// The certificates that an https check trusts: the system's bundle, as update-ca-certificates(8) and its kin write it,
// so that a private authority counts as soon as the host trusts it. Without a bundle, Node's built-in list.

import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'

/** Debian and its family, Fedora and its family, Alpine and SUSE. */
export const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
  '/etc/ssl/ca-bundle.pem',
]

/** Milliseconds between looks at the bundle. */
const FRESH = 60_000

/** Reads a bundle. Throws where it does not begin with a certificate: TLS would read it as an empty trust store. */
function read(path: string): Buffer {
  const bundle = readFileSync(path)
  try {
    new X509Certificate(bundle)
  } catch (error) {
    throw new Error(`${path} does not begin with a certificate`, { cause: error })
  }
  return bundle
}

/** Caches one TLS context for all checks until the bundle changes, because making one takes milliseconds. */
export class Trust {
  readonly #bundles: readonly string[]
  readonly #now: () => number
  #context: SecureContext | undefined
  /** Path and modification time of the bundle in #context. */
  #origin = ''
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(now: () => number, bundles: readonly string[] = BUNDLES) {
    this.#now = now
    this.#bundles = bundles
  }

  /** Throws where the bundle is unreadable. */
  context(): SecureContext {
    if (this.#context && this.#now() - this.#lookedAt < FRESH) return this.#context
    this.#lookedAt = this.#now()
    const found = this.#find()
    const origin = found ? `${found.path} ${found.modified}` : 'built in'
    if (!this.#context || origin !== this.#origin) {
      this.#context = createSecureContext(found ? { ca: read(found.path) } : {})
      this.#origin = origin
    }
    return this.#context
  }

  #find(): { readonly path: string; readonly modified: number } | undefined {
    for (const path of this.#bundles) {
      const stats = statSync(path, { throwIfNoEntry: false })
      if (stats?.isFile()) return { path, modified: stats.mtimeMs }
    }
    return undefined
  }
}
