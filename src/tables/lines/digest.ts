// Digests of everything that an apply wrote, stored with the tables. A different live digest is drift: another program
// changed the tables since.

import { createHash, type Hash } from 'node:crypto'
import type { Ranges } from '../../model/address.ts'
import { type Policy, SETTING_NAMES, settingOf } from '../../model/policy.ts'
import { portsText, type Service } from '../../model/service.ts'
import { type List, scopeKey } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'

/** First 8 bytes of the SHA-256, as __u64. */
const finish = (hash: Hash): bigint => hash.digest().readBigUInt64LE()

function addRanges(hash: Hash, { family, length, start, end }: Ranges): void {
  hash.update(`${family} ${length}\n`)
  for (const words of [start, end]) hash.update(new Uint8Array(words.buffer, words.byteOffset, words.byteLength))
}

/** Lists are immutable; hashing a long one takes milliseconds. */
const known = new WeakMap<List, bigint>()

/** Digest of a canonical list: its kind, name, scopes and addresses. */
export function listDigest(list: List): bigint {
  const digest = known.get(list) ?? digestOf(list)
  known.set(list, digest)
  return digest
}

function digestOf({ kind, name, sets }: List): bigint {
  const hash = createHash('sha256').update(`${kind} ${name}\n`)
  for (const { scope, addresses } of sets) {
    hash.update(`${scopeKey(scope)}\n`)
    addRanges(hash, addresses.v4)
    addRanges(hash, addresses.v6)
  }
  return finish(hash)
}

/** Digest of a policy's settings. The digest of an earlier version lacks later settings, which have their initial value. */
export function policyDigest(policy: Policy): bigint {
  const names = SETTING_NAMES.filter((name) => {
    const { isLater, initial } = settingOf(name)
    return !isLater || String(policy[name]) !== String(initial)
  })
  return finish(createHash('sha256').update(names.map((name) => `${name} ${policy[name]}\n`).join('')))
}

type Digested = Pick<Service, 'name' | 'ports' | 'snatPool' | 'drainTimeout' | 'mtu'>

/** Digest of a service: its lines, and the settings that stand outside of them. */
export function serviceDigest(service: Digested, lines: readonly Uint8Array[]): bigint {
  const { name, ports, snatPool, drainTimeout = 0, mtu } = service
  const pool = snatPool.map(({ family, words, hostPorts: range }) =>
    range ? `${formatAddress(family, words)} ${range.first}-${range.last}` : formatAddress(family, words),
  )
  // An earlier version had no lists of ports, and no MTU; a single range is in the service's line.
  const list = ports.length > 1 ? `${portsText(service)}\n` : ''
  const limit = mtu === undefined ? '' : `${mtu}\n`
  const hash = createHash('sha256').update(`${name}\n${pool.join(' ')}\n${drainTimeout}\n${list}${limit}`)
  for (const line of lines) hash.update(line)
  return finish(hash)
}
