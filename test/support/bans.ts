// Bans of a test's data plane: written, swept and counted by the functions of the product.

import type { BanState } from '../../src/abi/generated.ts'
import { type Paths, pinPaths } from '../../src/abi/paths.ts'
import { banStatePart } from '../../src/features/bans.ts'
import { sweepBans, writeBans } from '../../src/kernel/live/bans.ts'
import { runParts } from '../../src/kernel/tools/bpftool.ts'
import type { BanOutcome, BanRequest } from '../../src/model/ban.ts'
import { type Prefix, parsePrefix } from '../../src/model/text.ts'
import type { DataPlane } from './bpf.ts'

export interface Banning {
  readonly prefix: string
  readonly ttlMs?: number
}

export interface Bans {
  readonly ban: (...wanted: readonly Banning[]) => Promise<BanOutcome['result'][]>
  readonly unban: (...prefixes: readonly string[]) => Promise<BanOutcome['result'][]>
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
    sharedMap: ({ name }) => plane.map(name),
    program: (_, program) => plane.program(program),
  }
  const write = (requests: readonly BanRequest[]): Promise<BanOutcome['result'][]> =>
    writeBans(paths, 1, requests, { reason: 'a test', by: 'test' }, 1_700_000_000)
  return {
    ban: (...wanted) => write(wanted.map(({ prefix, ttlMs = 0 }) => ({ op: 'add', prefix: parse(prefix), ttlMs }))),
    unban: (...prefixes) => write(prefixes.map((prefix) => ({ op: 'remove', prefix: parse(prefix), ttlMs: 0 }))),
    sweep: () => sweepBans(paths, 1),
    state: async () => (await runParts(banStatePart(paths, 1)))[0],
  }
}
