// The addresses of a name in DNS, as text that a list file could have.

import { NODATA, NOTFOUND, promises } from 'node:dns'
import { isIPv4 } from 'node:net'
import { Failure } from './failure.ts'

/** The part of a resolver that looks up names. */
export interface Lookup {
  readonly resolve4: (name: string, options: { ttl: true }) => Promise<readonly Answer[]>
  readonly resolve6: (name: string, options: { ttl: true }) => Promise<readonly Answer[]>
}

interface Answer {
  readonly address: string
  /** Seconds. */
  readonly ttl: number
}

export interface Resolved {
  readonly text: string
  /** Milliseconds for which all of it is valid. */
  readonly validMs: number
}

/** A name with more addresses belongs to a network of servers, which a list of prefixes describes better. */
const MOST = 1024

/** Seconds for which an answer is valid at most: a day. */
const MOST_VALID = 86_400

/** Codes of an answer without addresses. */
const NONE: readonly string[] = [NODATA, NOTFOUND]
const isNone = (error: unknown): boolean => NONE.includes((error as NodeJS.ErrnoException).code ?? '')

export const openLookup = (): Lookup => new promises.Resolver({ timeout: 3000, tries: 2 })

/** The addresses of a text that `resolve` made. */
const addressesIn = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

/**
 * Looks up both families. If one of them does not answer, its addresses stay as they were in `before`. Throws Failure if
 * neither answers, and if no address is left.
 */
export async function resolve(name: string, lookup: Lookup, before: string | undefined): Promise<Resolved> {
  const asked = [lookup.resolve4(name, { ttl: true }), lookup.resolve6(name, { ttl: true })]
  const [v4, v6] = (await Promise.allSettled(asked)) as [
    PromiseSettledResult<readonly Answer[]>,
    PromiseSettledResult<readonly Answer[]>,
  ]
  const lost = [v4, v6].filter((result) => result.status === 'rejected' && !isNone(result.reason))
  if (lost.length === 2) {
    const { code } = (lost[0] as PromiseRejectedResult).reason as NodeJS.ErrnoException
    throw new Failure(`DNS does not answer (${code ?? 'unknown error'})`)
  }
  const known = addressesIn(before ?? '')
  const of = (result: PromiseSettledResult<readonly Answer[]>, isOwn: (address: string) => boolean): string[] => {
    if (result.status === 'fulfilled') return result.value.map(({ address }) => address)
    return isNone(result.reason) ? [] : known.filter(isOwn)
  }
  const addresses = [...new Set([...of(v4, isIPv4), ...of(v6, (address) => !isIPv4(address))])].sort()
  if (addresses.length === 0) throw new Failure('DNS has no address for it')
  if (addresses.length > MOST) throw new Failure(`DNS has ${addresses.length} addresses for it; the limit is ${MOST}`)
  const ttls = [v4, v6].flatMap((result) => (result.status === 'fulfilled' ? result.value.map(({ ttl }) => ttl) : []))
  return { text: `# addresses of ${name}\n${addresses.join('\n')}\n`, validMs: Math.min(MOST_VALID, ...ttls) * 1000 }
}
