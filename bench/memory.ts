// npm run bench memory: measures kernel memory per prefix, by kind and number of prefixes.
//
// Bytes of the policy map, which holds all tables; the maps for counters have one size for every policy and are left
// out. Nothing is timed, so one run is exact.

import type { Family, Ranges } from '../src/model/address.ts'
import { countPrefixes } from '../src/model/prefixes.ts'
import { normalize } from '../src/model/ranges.ts'
import { compile, stateOf } from './support/lookup.ts'
import { conclude, MIB, table } from './support/report.ts'
import { hosts4, makeRandom, mixed4, mixed6 } from './support/sets.ts'

const SIZES = [1000, 10_000, 100_000, 1_000_000]

/** Random prefixes of one length. IPv6 ones are global unicast, 2000::/3. */
function uniform(family: Family, length: number, count: number): Ranges {
  const random = makeRandom(length)
  const width = family === 4 ? 1 : 4
  const start = new Uint32Array(count * width)
  const end = new Uint32Array(count * width)
  for (let i = 0; i < start.length; i++) {
    const word = i % width
    const bits = Math.min(32, Math.max(0, length - word * 32))
    const host = bits === 0 ? 0xffffffff : 2 ** (32 - bits) - 1
    const value = family === 6 && word === 0 ? 0x20000000 | (random() >>> 3) : random()
    start[i] = value & ~host
    end[i] = value | host
  }
  return normalize(family, start, end)
}

const KINDS: readonly (readonly [string, (count: number) => Ranges])[] = [
  ['IPv4 hosts', (count) => hosts4(count).set],
  ['IPv4 /24', (count) => uniform(4, 24, count)],
  ['IPv4 /28', (count) => uniform(4, 28, count)],
  ['IPv4 mixture', (count) => mixed4(count).set],
  ['IPv6 hosts', (count) => uniform(6, 128, count)],
  ['IPv6 /64', (count) => uniform(6, 64, count)],
  ['IPv6 /48', (count) => uniform(6, 48, count)],
  ['IPv6 mixture', (count) => mixed6(count).set],
]

const results = KINDS.flatMap(([kind, make]) =>
  SIZES.map((count) => {
    const set = make(count)
    return { kind, count, prefixes: countPrefixes(set), bytes: compile(stateOf([set])).length }
  }),
)
const cell = ({ bytes, prefixes }: (typeof results)[number]): string =>
  `${(bytes / prefixes).toFixed(1)} (${(bytes / MIB).toFixed(2)} MiB)`
console.log('bytes of kernel memory per prefix (of the policy)\n')
console.log(
  table(
    ['', ...SIZES.map((size) => size.toLocaleString('en'))],
    KINDS.map(([kind]) => [kind, ...results.filter((result) => result.kind === kind).map(cell)]),
  ),
)
conclude('memory', [], { results })
