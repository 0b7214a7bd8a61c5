// Every metric there is: its name, what it means, its labels, and how its samples come from what is known. Whatever
// tells metrics, or tells of them, is made from or held to this table: the exposition, docs/metrics.md, the alerts and
// the dashboard in examples/prometheus. A metric without samples is not told at all.
//
// Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for what only grows.

import { FEATURES } from '../features/features.ts'
import { type Metric, one, type Report, type Sample } from '../report/metric.ts'
import { REASONS, verdictOf } from '../report/reason.ts'
import { OUTCOMES, type Outcome } from '../report/watch.ts'

const seconds = (iso: string): number => Date.parse(iso) / 1000

/** Every reason of every interface, also those that have not occurred: a rate needs the zero before the first. */
const byReason =
  (unit: 'packets' | 'bytes') =>
  ({ stats }: Report): readonly Sample[] =>
    stats.interfaces.flatMap(({ name, reasons }) =>
      REASONS.map((reason): Sample => [[name, verdictOf(reason), reason], reasons[reason]?.[unit] ?? 0]),
    )

const byList =
  (field: 'packets' | 'bytes' | 'prefixes') =>
  ({ stats }: Report): readonly Sample[] =>
    stats.lists.map((list): Sample => [[list.name, list.kind], list[field]])

const byFeed =
  (field: 'updatedAt' | 'maxAge' | 'entries' | 'skipped') =>
  ({ surroundings: { feeds = [] } }: Report): readonly Sample[] =>
    feeds.flatMap((feed): Sample[] => {
      const value = feed[field]
      return value === undefined ? [] : [[[feed.list], value]]
    })

const REASON_LABELS = ['interface', 'verdict', 'reason']
const LIST_LABELS = ['list', 'kind']

const UNSUCCESSFUL: readonly Outcome[] = ['refused', 'failed']

export const METRICS: readonly Metric[] = [
  {
    name: 'xdp_build_info',
    type: 'gauge',
    help: 'Version of the xdp that tells these metrics; always 1.',
    labels: ['version'],
    samples: ({ version }) => [[[version], 1]],
  },
  {
    name: 'xdp_program_info',
    type: 'gauge',
    help: 'The program in the kernel; always 1.',
    labels: ['digest', 'abi'],
    samples: ({ stats: { program } }) => (program ? [[[program.digest.slice(0, 16), `${program.abi}`], 1]] : []),
  },
  {
    name: 'xdp_generation',
    type: 'gauge',
    help: 'Number of the live policy generation; 0 = nothing is applied.',
    labels: [],
    samples: ({ stats }) => one(stats.generation),
  },
  {
    name: 'xdp_applied_timestamp_seconds',
    type: 'gauge',
    help: 'When the live policy was applied, in Unix time.',
    labels: [],
    samples: ({ stats: { committed_at } }) => one(committed_at === undefined ? undefined : seconds(committed_at)),
  },
  {
    name: 'xdp_packets_total',
    type: 'counter',
    help: 'Packets by interface, what became of them, and why.',
    labels: REASON_LABELS,
    samples: byReason('packets'),
  },
  {
    name: 'xdp_bytes_total',
    type: 'counter',
    help: 'Bytes of these packets, from the Ethernet header on.',
    labels: REASON_LABELS,
    samples: byReason('bytes'),
  },
  {
    name: 'xdp_interface_attached',
    type: 'gauge',
    help: '1 = the interface runs the program; 0 = the last apply attached it there, and it is gone.',
    labels: ['interface'],
    samples: ({ stats: { interfaces, detached } }) => [
      ...interfaces.map(({ name }): Sample => [[name], 1]),
      ...detached.map((name): Sample => [[name], 0]),
    ],
  },
  {
    name: 'xdp_interface_info',
    type: 'gauge',
    help: 'How the program is attached: native, generic or offload; always 1.',
    labels: ['interface', 'mode'],
    samples: ({ stats: { interfaces } }) => interfaces.map(({ name, mode }): Sample => [[name, mode], 1]),
  },
  {
    name: 'xdp_list_packets_total',
    type: 'counter',
    help: 'Packets that a list decided.',
    labels: LIST_LABELS,
    samples: byList('packets'),
  },
  {
    name: 'xdp_list_bytes_total',
    type: 'counter',
    help: 'Bytes of these packets.',
    labels: LIST_LABELS,
    samples: byList('bytes'),
  },
  {
    name: 'xdp_list_prefixes',
    type: 'gauge',
    help: 'Prefixes in the smallest set of prefixes that covers the list.',
    labels: LIST_LABELS,
    samples: byList('prefixes'),
  },
  ...FEATURES.flatMap(({ metrics }) => metrics),
  {
    name: 'xdp_table_entries',
    type: 'gauge',
    help: 'How many there are of what there may be only so many of, such as bans and lists.',
    labels: ['table'],
    samples: ({ stats: { fill } }) => fill.map(({ name, used }): Sample => [[name], used]),
  },
  {
    name: 'xdp_table_capacity',
    type: 'gauge',
    help: 'How many of them there may be.',
    labels: ['table'],
    samples: ({ stats: { fill } }) => fill.map(({ name, capacity }): Sample => [[name], capacity]),
  },
  {
    name: 'xdp_memory_bytes',
    type: 'gauge',
    help: 'Kernel memory of the live policy, of counters and records, and of bans.',
    labels: ['use'],
    samples: ({ stats: { memory } }) => Object.entries(memory).map(([use, bytes]): Sample => [[use], bytes]),
  },
  {
    name: 'xdp_drifted_objects',
    type: 'gauge',
    help: 'Objects that differ from what the last apply recorded. Without a watcher only interfaces and pins are looked at.',
    labels: [],
    samples: ({ stats, surroundings }) => one((surroundings.drifted ?? stats.drifted).length),
  },
  {
    name: 'xdp_stats_duration_seconds',
    type: 'gauge',
    help: 'How long it took to read the counters.',
    labels: [],
    samples: ({ stats }) => one(stats.seconds),
  },
  {
    name: 'xdp_config_valid',
    type: 'gauge',
    help: '1 = the config on disk can be applied; 0 = it has errors or is not there.',
    labels: [],
    samples: ({ surroundings: { config } }) => one(config && Number(config.valid)),
  },
  {
    name: 'xdp_config_info',
    type: 'gauge',
    help: 'The config on disk, with the SHA-256 over it and all files it names; always 1.',
    labels: ['path', 'sha256'],
    samples: ({ surroundings: { config } }) => (config?.sha256 ? [[[config.path, config.sha256], 1]] : []),
  },
  {
    name: 'xdp_config_modified_timestamp_seconds',
    type: 'gauge',
    help: 'When the config was last written, in Unix time.',
    labels: [],
    samples: ({ surroundings: { config } }) => one(config?.modifiedAt),
  },
  {
    name: 'xdp_feed_updated_timestamp_seconds',
    type: 'gauge',
    help: 'When the oldest file of a list was made: its own timestamp, else when it was last written, in Unix time.',
    labels: ['list'],
    samples: byFeed('updatedAt'),
  },
  {
    name: 'xdp_feed_max_age_seconds',
    type: 'gauge',
    help: 'How old the files of a list may be (max_age in the config).',
    labels: ['list'],
    samples: byFeed('maxAge'),
  },
  {
    name: 'xdp_feed_entries',
    type: 'gauge',
    help: 'Entries in the files of a list.',
    labels: ['list'],
    samples: byFeed('entries'),
  },
  {
    name: 'xdp_feed_skipped_lines',
    type: 'gauge',
    help: 'Lines of these files that are no entries and were skipped.',
    labels: ['list'],
    samples: byFeed('skipped'),
  },
  {
    name: 'xdp_reconciles_total',
    type: 'counter',
    help: 'Reconciles of the watcher, by how they ended.',
    labels: ['outcome'],
    samples: ({ surroundings: { reconcile } }) =>
      reconcile ? OUTCOMES.map((outcome): Sample => [[outcome], reconcile.reconciles[outcome]]) : [],
  },
  {
    name: 'xdp_reconcile_success',
    type: 'gauge',
    help: '1 = the last reconcile did what it should; 0 = it failed, or a guard refused it.',
    labels: [],
    samples: ({ surroundings: { reconcile } }) =>
      one(reconcile?.last && Number(!UNSUCCESSFUL.includes(reconcile.last.outcome))),
  },
  {
    name: 'xdp_reconcile_duration_seconds',
    type: 'gauge',
    help: 'How long the last reconcile took.',
    labels: [],
    samples: ({ surroundings: { reconcile } }) => one(reconcile?.last && reconcile.last.durationMs / 1000),
  },
  {
    name: 'xdp_reconcile_timestamp_seconds',
    type: 'gauge',
    help: 'When the last reconcile ended, in Unix time.',
    labels: [],
    samples: ({ surroundings: { reconcile } }) => one(reconcile?.last && seconds(reconcile.last.at)),
  },
]
