// The table of all metrics: name, help text, labels, and how to derive the samples. The exposition and the table in
// docs/metrics.md are made from it, and tests compare the alerts and dashboard in examples/prometheus with it. A metric
// without samples is left out of the output.
//
// Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters.

import { FEATURES } from '../features/features.ts'
import { type Metric, one, type Report, type Sample } from '../report/metric.ts'
import { REASONS, verdictOf } from '../report/reason.ts'
import { OUTCOMES, type Outcome } from '../report/watch.ts'

const seconds = (iso: string): number => Date.parse(iso) / 1000

/**
 * Every reason of every interface, including those that have not occurred: a rate needs a zero before the first packet.
 * Then the reasons that occurred on devices without a counter entry, without the name of an interface.
 */
const byReason =
  (unit: 'packets' | 'bytes') =>
  ({ stats }: Report): readonly Sample[] => [
    ...stats.interfaces.flatMap(({ name, reasons }) =>
      REASONS.map((reason): Sample => [[name, verdictOf(reason), reason], reasons[reason]?.[unit] ?? 0]),
    ),
    ...REASONS.flatMap((reason): Sample[] => {
      const count = stats.unknown[reason]
      return count ? [[['', verdictOf(reason), reason], count[unit]]] : []
    }),
  ]

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
    help: 'Version of xdp; always 1.',
    labels: ['version'],
    samples: ({ version }) => [[[version], 1]],
  },
  {
    name: 'xdp_program_info',
    type: 'gauge',
    help: 'The loaded program; always 1.',
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
    help: 'Time at which the live policy was applied, in Unix time.',
    labels: [],
    samples: ({ stats: { committed_at } }) => one(committed_at === undefined ? undefined : seconds(committed_at)),
  },
  {
    name: 'xdp_packets_total',
    type: 'counter',
    help: 'Packets by interface, verdict and reason.',
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
    help: '1 = the program is attached to the interface; 0 = it was, and is not any more.',
    labels: ['interface'],
    samples: ({ stats: { interfaces, detached } }) => [
      ...interfaces.map(({ name }): Sample => [[name], 1]),
      ...detached.map((name): Sample => [[name], 0]),
    ],
  },
  {
    name: 'xdp_interface_info',
    type: 'gauge',
    help: 'Attach mode of the program: native, generic or offload; always 1.',
    labels: ['interface', 'mode'],
    samples: ({ stats: { interfaces } }) => interfaces.map(({ name, mode }): Sample => [[name, mode], 1]),
  },
  {
    name: 'xdp_list_packets_total',
    type: 'counter',
    help: 'Packets whose verdict came from a list.',
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
    help: 'The fewest prefixes that cover the list.',
    labels: LIST_LABELS,
    samples: byList('prefixes'),
  },
  ...FEATURES.flatMap(({ metrics }) => metrics),
  {
    name: 'xdp_table_entries',
    type: 'gauge',
    help: 'Used entries of a table with limited capacity, such as bans and lists.',
    labels: ['table'],
    samples: ({ stats: { fill } }) => fill.map(({ name, used }): Sample => [[name], used]),
  },
  {
    name: 'xdp_table_capacity',
    type: 'gauge',
    help: 'Capacity of these tables.',
    labels: ['table'],
    samples: ({ stats: { fill } }) => fill.map(({ name, capacity }): Sample => [[name], capacity]),
  },
  {
    name: 'xdp_memory_bytes',
    type: 'gauge',
    help: 'Kernel memory by use: the live policy, counters and records, bans.',
    labels: ['use'],
    samples: ({ stats: { memory } }) => Object.entries(memory).map(([use, bytes]): Sample => [[use], bytes]),
  },
  {
    name: 'xdp_drifted_objects',
    type: 'gauge',
    help: 'Objects that drifted since the last apply. Without a daemon only interfaces and pins are compared.',
    labels: [],
    samples: ({ stats, surroundings }) => one((surroundings.drifted ?? stats.drifted).length),
  },
  {
    name: 'xdp_confirmation_pending',
    type: 'gauge',
    help: 'Whether the live policy waits for `xdp confirm`: 1 or 0.',
    labels: [],
    samples: ({ stats: { pending } }) => one(pending ? 1 : 0),
  },
  {
    name: 'xdp_confirmation_remaining_seconds',
    type: 'gauge',
    help: 'Seconds until the previous policy returns; only while a confirmation is pending.',
    labels: [],
    samples: ({ stats: { pending } }) => one(pending?.seconds_left),
  },
  {
    name: 'xdp_confirmation_guarded',
    type: 'gauge',
    help: 'Whether a guardian runs that puts the previous policy back: 1 or 0; only while a confirmation is pending.',
    labels: [],
    samples: ({ stats: { pending } }) => one(pending && (pending.guarded ? 1 : 0)),
  },
  {
    name: 'xdp_stats_duration_seconds',
    type: 'gauge',
    help: 'Seconds taken to read the counters.',
    labels: [],
    samples: ({ stats }) => one(stats.seconds),
  },
  {
    name: 'xdp_config_valid',
    type: 'gauge',
    help: '1 = the config on disk is valid; 0 = it has errors or is missing.',
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
    help: 'Time of the last write to the config, in Unix time.',
    labels: [],
    samples: ({ surroundings: { config } }) => one(config?.modifiedAt),
  },
  {
    name: 'xdp_feed_updated_timestamp_seconds',
    type: 'gauge',
    help: 'Time of the oldest file of a list: the timestamp in it, else its last write, in Unix time.',
    labels: ['list'],
    samples: byFeed('updatedAt'),
  },
  {
    name: 'xdp_feed_max_age_seconds',
    type: 'gauge',
    help: 'Maximum age of the files of a list (max_age in the config).',
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
    name: 'xdp_source_success_timestamp_seconds',
    type: 'gauge',
    help: 'Last time that a source in the network (url or host) had a usable content, in Unix time.',
    labels: ['source'],
    samples: ({ surroundings: { copies = [] } }) => copies.map(({ source, goodAt = 0 }): Sample => [[source], goodAt]),
  },
  {
    name: 'xdp_source_failures',
    type: 'gauge',
    help: 'Failed attempts to fetch a source since the last success.',
    labels: ['source'],
    samples: ({ surroundings: { copies = [] } }) => copies.map(({ source, failures }): Sample => [[source], failures]),
  },
  {
    name: 'xdp_reconciles_total',
    type: 'counter',
    help: 'Reconciles of the daemon by outcome.',
    labels: ['outcome'],
    samples: ({ surroundings: { reconcile } }) =>
      reconcile ? OUTCOMES.map((outcome): Sample => [[outcome], reconcile.reconciles[outcome]]) : [],
  },
  {
    name: 'xdp_reconcile_success',
    type: 'gauge',
    help: '1 = the last reconcile succeeded; 0 = it failed, or a guard refused it.',
    labels: [],
    samples: ({ surroundings: { reconcile } }) =>
      one(reconcile?.last && Number(!UNSUCCESSFUL.includes(reconcile.last.outcome))),
  },
  {
    name: 'xdp_reconcile_duration_seconds',
    type: 'gauge',
    help: 'Duration of the last reconcile in seconds.',
    labels: [],
    samples: ({ surroundings: { reconcile } }) => one(reconcile?.last && reconcile.last.durationMs / 1000),
  },
  {
    name: 'xdp_reconcile_timestamp_seconds',
    type: 'gauge',
    help: 'End of the last reconcile, in Unix time.',
    labels: [],
    samples: ({ surroundings: { reconcile } }) => one(reconcile?.last && seconds(reconcile.last.at)),
  },
]
