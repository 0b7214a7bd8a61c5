// Readings of counters, given in a line or two.

import type { AnomalyName } from '../../src/model/anomaly.ts'
import type { PendingConfirmation } from '../../src/report/confirmation.ts'
import { type ReasonName, VERDICTS, verdictOf } from '../../src/report/reason.ts'
import type {
  AnomalyStatus,
  BackendStatus,
  Count,
  InterfaceStatus,
  RateStatus,
  ServiceStatus,
  SynStatus,
} from '../../src/report/result.ts'
import type { Stats, Surroundings } from '../../src/report/stats.ts'
import { backend, EGRESS, service } from './services.ts'
import { PROGRAM } from './states.ts'

/** Packets by reason, 100 bytes each. */
export function attached(name: string, packets: Partial<Record<ReasonName, number>> = {}): InterfaceStatus {
  const found = Object.entries(packets) as [ReasonName, number][]
  const sum = (each: number) =>
    Object.fromEntries(
      VERDICTS.map((verdict) => {
        const own = found.filter(([reason]) => verdictOf(reason) === verdict)
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

/** An apply that waits for its confirmation for another minute. */
export const PENDING: PendingConfirmation = {
  id: '0123abcd',
  generation: 3,
  previous: 2,
  deadline: '2026-01-02T05:05:05.000Z',
  seconds_left: 60,
  guarded: true,
  on: undefined,
  config: { path: '/etc/xdp/xdp.yaml', sha256: 'ab'.repeat(32) },
}

export const EMPTY: Stats = {
  time: Date.parse('2026-01-02T05:04:05Z'),
  seconds: 0.0125,
  interfaces: [],
  unknown: {},
  detached: [],
  lists: [],
  anomalies: [],
  rate_limits: [],
  observed_bans: undefined,
  services: [],
  fill: [],
  memory: { policy: 0, counters: 0, bans: 0 },
  program: undefined,
  generation: 0,
  committed_at: undefined,
  drifted: [],
  pending: undefined,
}

/** An anomaly that so many packets of 100 bytes had, and that drops them. */
export const anomalous = (name: AnomalyName, packets: number): AnomalyStatus => ({
  name,
  action: 'drop',
  interfaces: ['eth0'],
  packets,
  bytes: packets * 100,
  dropped_packets: packets,
  dropped_bytes: packets * 100,
})

/** A rate limit that was exceeded by so many packets of 100 bytes, of ten times as many. */
export const limited = (name: string, exceeding: number): RateStatus => ({
  name,
  per: 'source',
  action: 'drop',
  packets: exceeding * 10,
  bytes: exceeding * 1000,
  exceeding_packets: exceeding,
  bans: 2,
  exceeding_bytes: exceeding * 100,
})

/** Protected ports under a flood. */
export const PROTECTED: SynStatus = {
  ...{ mode: 'auto', threshold: 2000, ports: '443', answering: true, floods: 2 },
  ...{ syns: 90_000, answered: 88_000, left: 100, completed: 400, invalid: 7 },
}

export const stats = (facts: Partial<Stats> = {}): Stats => ({
  ...EMPTY,
  interfaces: [attached('eth0', { 'default-pass': 1_204_000, blocklist: 3444 })],
  lists: [{ ...counted('spamhaus', 3444), observed: { packets: 12, bytes: 720 } }],
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
  copies: [
    {
      kind: 'url',
      source: 'https://lists.example.org/drop.txt',
      path: '/var/lib/xdp/feeds/lists.example.org-drop.txt-0123456789ab',
      goodAt: 1_767_320_000,
      checkedAt: 1_767_322_000,
      problem: 'https://lists.example.org/drop.txt: the server answers with status 500; the last good copy stays',
      failures: 2,
    },
  ],
  reconcile: {
    reconciles: { applied: 3, 'in-sync': 40, held: 0, refused: 1, failed: 2 },
    last: { at: '2026-01-02T05:00:00.250Z', durationMs: 250, outcome: 'in-sync' },
  },
  drifted: ['list:spamhaus'],
  checks: {
    checks: 1200,
    failures: 31,
    unknown: 2,
    missed: 0,
    running: 1,
    lateness: { sumMs: 820, maxMs: 12.5 },
    writes: 4,
  },
}

const WEB = service('web', '192.0.2.10 443', {
  backends: [backend('10.0.0.11', { weight: 2 }), '10.0.0.12 8443', backend('10.0.0.13', { nextHop: undefined })],
  sorry: backend('10.0.0.99'),
  snatPool: ['192.0.2.20'],
  drainTimeout: 600,
})

const COUNTS = { packets: 1200, bytes: 1_300_000, flows: 12 }
const LIKE: BackendStatus = {
  ...COUNTS,
  ...{ address: '10.0.0.11', port: undefined, weight: 2, state: 'active', role: 'backend', health: 'up', share: 1 },
  next_hop: EGRESS,
  drained_in: undefined,
}
/** A service with a backend of every kind. */
export const BALANCED: ServiceStatus = {
  service: WEB,
  mode: 'well',
  ...COUNTS,
  ...{ hits: 1188, misses: 12, limited: 0, empty: 3, unresolved: 0, too_big: 0, replies: 900, exhausted: 0, icmp: 0 },
  backends: [
    LIKE,
    { ...LIKE, address: '10.0.0.12', port: 8443, health: 'starting', share: 0.25 },
    { ...LIKE, address: '10.0.0.13', health: 'down', share: 0, next_hop: undefined },
    { ...LIKE, address: '10.0.0.14', state: 'drain', drained_in: 90 },
    { ...LIKE, address: '10.0.0.15', state: 'disabled' },
    { ...LIKE, address: '10.0.0.99', role: 'sorry' },
    { ...LIKE, address: '2001:db8::9', port: 80, role: 'leaving', drained_in: 3600 },
  ],
}
