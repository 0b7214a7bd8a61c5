// Bans of a test's data plane: written, swept and counted by the functions of the product.

import type { BanState } from '../../src/abi/generated.ts'
import { type Paths, pinPaths } from '../../src/abi/paths.ts'
import { banStatePart } from '../../src/features/bans.ts'
import { sweepBans, writeBans } from '../../src/kernel/live/ban-write.ts'
import { runParts } from '../../src/kernel/tools/bpftool.ts'
import type { BanLabels, BanOutcome, BanRequest } from '../../src/model/ban.ts'
import { EVERY_CUT } from '../../src/model/contact.ts'
import { type Prefix, parsePrefix } from '../../src/model/text.ts'
import type { DataPlane } from './bpf.ts'

export interface Banning {
  readonly prefix: string
  readonly ttlMs?: number
  readonly observe?: boolean
  readonly unlessBanned?: boolean
  /** Of a ban that yields, by default `a limit`. */
  readonly reason?: string
}

type Result = BanOutcome['result']

export interface Bans {
  /** Bans with the labels `a test` and `test`. */
  readonly ban: (...wanted: readonly Banning[]) => Promise<readonly Result[]>
  /** Bans by another author, as rate limits do it. */
  readonly banYielding: (...wanted: readonly Banning[]) => Promise<readonly Result[]>
  readonly unban: (...prefixes: readonly string[]) => Promise<readonly Result[]>
  /** Lifts bans that carry these labels. */
  readonly unbanOf: (labels: Partial<BanLabels>, ...prefixes: readonly string[]) => Promise<readonly Result[]>
  readonly sweep: () => Promise<void>
  readonly state: () => Promise<BanState>
}

export function parse(text: string): Prefix {
  const prefix = parsePrefix(text)
  if (!prefix) throw new Error(`${text} is not a prefix`)
  return prefix
}

export function bansOf(plane: DataPlane): Bans {
  const paths: Paths = {
    ...pinPaths('', ''),
    ownMap: (_, { name }) => plane.map(name),
    program: (_, program) => plane.program(program),
  }
  const access = { paths, lock: undefined, netns: 1n }
  /** `labels`: of each request, or of all. */
  const write = async (requests: readonly BanRequest[], ...labels: BanLabels[]): Promise<readonly Result[]> => {
    const labelsOf = (i: number): BanLabels => labels[i] ?? (labels[0] as BanLabels)
    const orders = requests.map((request, i) => ({ ...request, labels: labelsOf(i), allowed: EVERY_CUT, peers: [] }))
    const results = await writeBans(access, [1], orders, 1_700_000_000)
    if (results === 'elsewhere') throw new Error('the data plane belongs to another namespace')
    return results
  }
  const remove = (prefix: string): BanRequest => ({ op: 'remove', prefix: parse(prefix), ttlMs: 0 })
  const add = ({ prefix, ttlMs = 0, observe = false, unlessBanned = false }: Banning, yields: boolean): BanRequest => ({
    ...{ op: 'add', prefix: parse(prefix), ttlMs, observe, yields, unlessBanned },
  })
  return {
    ban: (...wanted) =>
      write(
        wanted.map((one) => add(one, false)),
        { reason: 'a test', by: 'test' },
      ),
    banYielding: (...wanted) =>
      write(
        wanted.map((one) => add(one, true)),
        ...wanted.map(({ reason = 'a limit' }) => ({ reason, by: 'limits' })),
      ),
    unban: (...prefixes) => write(prefixes.map(remove), { reason: '', by: '' }),
    unbanOf: (labels, ...prefixes) => write(prefixes.map(remove), { reason: '', by: '', ...labels }),
    sweep: () => sweepBans(access, [1]),
    state: async () => (await runParts(banStatePart(paths, 1)))[0],
  }
}
