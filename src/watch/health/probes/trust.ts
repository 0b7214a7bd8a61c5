// Which certificates an https check believes: those of the system, as update-ca-certificates(8) and its kin leave them,
// so that a company's own authority counts as soon as the host trusts it; Node's built-in list where there is none.

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

/** Milliseconds after which the bundle is looked at again. */
const FRESH = 60_000

/** The certificates of a bundle. Throws where it does not begin with one: TLS would take it for "trust nobody". */
function read(path: string): Buffer {
  const bundle = readFileSync(path)
  try {
    new X509Certificate(bundle)
  } catch (error) {
    throw new Error(`${path} is no list of certificates`, { cause: error })
  }
  return bundle
}

/** A context costs milliseconds to make, so one serves all checks until the bundle is another. */
export class Trust {
  readonly #bundles: readonly string[]
  readonly #now: () => number
  #context: SecureContext | undefined
  /** Path and time of the bundle that #context was made from. */
  #origin = ''
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(now: () => number, bundles: readonly string[] = BUNDLES) {
    this.#now = now
    this.#bundles = bundles
  }

  /** Throws where the bundle cannot be read. */
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
