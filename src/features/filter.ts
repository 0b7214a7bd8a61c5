// The filter: lists, the default verdict, and counters by interface. Every other feature builds on it.

import {
  attachmentCodec,
  counterCodec,
  INTERFACE_INDEX_SIZE,
  INTERFACE_SLOTS,
  interfaceEntryCodec,
  LIST_SLOTS,
  REASON,
  REASON_SLOTS,
} from '../abi/generated.ts'
import { arrayMap, type MapShape, type Paths, perCpuMap } from '../abi/paths.ts'
import type { Slots } from '../model/live.ts'
import type { Feature } from './feature.ts'
import type { Step } from './step.ts'

const maps = {
  verdictStats: perCpuMap('verdict_stats', counterCodec.size, INTERFACE_SLOTS * REASON_SLOTS),
  listStats: perCpuMap('list_stats', counterCodec.size, LIST_SLOTS),
  interfaceIndex: arrayMap('interface_index', interfaceEntryCodec.size, INTERFACE_INDEX_SIZE),
  attachments: arrayMap('attachments', attachmentCodec.size, INTERFACE_SLOTS),
} as const

export const FILTER = {
  name: 'filter',
  maps,
  programs: {
    filter: 'xdp_filter',
    explain: 'explain',
    write: 'table_write',
    read: 'table_read',
    digest: 'table_digest',
    stats: 'stats_read',
  },
  core: ['xdp_filter', 'explain', 'table_write', 'table_read', 'stats_read'],
  reasons: [
    'default-pass',
    'allowlist',
    'essential',
    'not-ip',
    'malformed',
    'nonlinear',
    'unsupported',
    'blocklist',
    'default-drop',
    'internal',
    'not-ip-drop',
    'malformed-drop',
    'unsupported-drop',
  ],
  needs: [
    { since: [5, 5], what: 'page-aligned array maps (BPF_F_MMAPABLE)' },
    { since: [5, 11], what: 'a clock that costs little (bpf_ktime_get_coarse_ns)' },
    { since: [5, 17], what: 'loops in programs (bpf_loop)' },
    { since: [5, 18], what: 'programs for packets in several buffers (xdp.frags)' },
    { since: [5, 18], what: 'access to such packets (bpf_xdp_load_bytes, bpf_xdp_store_bytes, bpf_xdp_get_buff_len)' },
    { since: [5, 18], what: 'test runs with more than a page of data, which fill the tables' },
    { since: [5, 19], what: 'counters of every CPU in one run (bpf_map_lookup_percpu_elem)' },
  ],
  prepare: ({ paths, plan, live }) => zeroCounters(paths, live.slots, plan.slots, live.instance.missing),
  reverting: ({ paths, plan, live }) => zeroCounters(paths, plan.slots, live.slots, live.instance.missing),
  metrics: [],
} as const satisfies Feature

/** Fills a generation, and is unpinned afterwards because it holds the map of the previous generation. */
export const COPY_PROGRAM = 'table_copy'

/** Slots with a new owner. */
export function newlyOwned(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number[] {
  const slots: number[] = []
  for (const [name, slot] of after) if (before.get(name) !== slot) slots.push(slot)
  return slots
}

type CounterSlots = Pick<Slots, 'lists' | 'interfaces'>

/** Zeroes the counters of slots with a new owner; maps that do not exist yet will hold zeros. */
function zeroCounters(
  paths: Paths,
  before: CounterSlots,
  after: CounterSlots,
  missing: readonly MapShape[],
): readonly Step[] {
  const { verdictStats, listStats } = maps
  const size = counterCodec.size
  const lists = missing.includes(listStats) ? [] : newlyOwned(before.lists, after.lists)
  const interfaces = missing.includes(verdictStats) ? [] : newlyOwned(before.interfaces, after.interfaces)
  const zero = (map: typeof listStats, slot: number): Step => ({
    kind: 'zero-counter',
    map: paths.sharedMap(map),
    slot,
    size,
  })
  return [
    ...lists.map((slot) => zero(listStats, slot)),
    ...interfaces.flatMap((slot) =>
      Object.values(REASON).map((reason) => zero(verdictStats, slot * REASON_SLOTS + reason)),
    ),
  ]
}
