// Looks at counters, written down in a line or two.

import { type Count, type InterfaceStatus, type ReasonName, VERDICT_OF, VERDICTS } from '../../src/model/result.ts'
import type { Stats, Surroundings } from '../../src/model/stats.ts'
import { PROGRAM } from './states.ts'

/** Packets by reason, 100 bytes each. */
export function attached(name: string, packets: Partial<Record<ReasonName, number>> = {}): InterfaceStatus {
  const found = Object.entries(packets) as [ReasonName, number][]
  const sum = (each: number) =>
    Object.fromEntries(
      VERDICTS.map((verdict) => {
        const own = found.filter(([reason]) => VERDICT_OF[reason] === verdict)
        return [verdict, own.reduce((total, [, count]) => total + count * each, 0)]
      }),
    ) as InterfaceStatus['packets']
  const counts = found.map(([reason, count]): [ReasonName, Count] => [reason, { packets: count, bytes: count * 100 }])
  const reasons = Object.fromEntries(counts.filter(([, count]) => count.packets > 0))
  const since = '2026-01-02T03:04:05Z'
  return { name, ifindex: 2, mode: 'native', program_id: 123, since, packets: sum(1), bytes: sum(100), reasons }
}

export const counted = (
  name: string,
  packets: number,
  kind: 'allowlist' | 'blocklist' = 'blocklist',
): Stats['lists'][number] => ({ name, kind, prefixes: 1177, packets, bytes: packets * 100 })

export const EMPTY: Stats = {
  time: Date.parse('2026-01-02T05:04:05Z'),
  seconds: 0.0125,
  interfaces: [],
  detached: [],
  lists: [],
  fill: [],
  memory: { policy: 0, counters: 0, bans: 0 },
  program: undefined,
  generation: 0,
  committed_at: undefined,
  drifted: [],
}

export const stats = (facts: Partial<Stats> = {}): Stats => ({
  ...EMPTY,
  interfaces: [attached('eth0', { 'default-pass': 1_204_000, blocklist: 3444 })],
  lists: [counted('spamhaus', 3444)],
  fill: [
    { name: 'interfaces', used: 1, capacity: 63 },
    { name: 'lists', used: 1, capacity: 1024 },
    { name: 'scopes', used: 1, capacity: 65_536 },
    { name: 'classes', used: 1, capacity: 65_535 },
    { name: 'bans', used: 12, capacity: 131_072 },
  ],
  memory: { policy: 1_258_291, counters: 65_536, bans: 2_100_000 },
  program: { digest: PROGRAM.digest, tag: 'a04f5eef06a7f555', abi: 1 },
  generation: 3,
  committed_at: '2026-01-02T03:04:05Z',
  ...facts,
})

export const SURROUNDINGS: Surroundings = {
  config: { path: '/etc/xdp/xdp.yaml', sha256: 'ab'.repeat(32), modifiedAt: 1_767_322_800, valid: true },
  feeds: [
    { list: 'spamhaus', updatedAt: 1_767_300_000, maxAge: 172_800, entries: 1177, skipped: 2 },
    { list: 'scanners', updatedAt: 1_767_000_000, maxAge: undefined, entries: 30, skipped: 0 },
  ],
  reconcile: {
    reconciles: { applied: 3, 'in-sync': 40, held: 0, refused: 1, failed: 2 },
    last: { at: '2026-01-02T05:00:00.250Z', durationMs: 250, outcome: 'in-sync' },
  },
  drifted: ['list:spamhaus'],
}
