// Metrics of health checks, which only a running daemon knows.

import { type Metric, one } from '../report/metric.ts'

export const HEALTH_METRICS: readonly Metric[] = [
  {
    name: 'xdp_health_checks_total',
    type: 'counter',
    help: 'Health checks that the watcher made.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.checks),
  },
  {
    name: 'xdp_health_check_failures_total',
    type: 'counter',
    help: 'Of these, those that the backend did not pass.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.failures),
  },
  {
    name: 'xdp_health_check_errors_total',
    type: 'counter',
    help: 'Of these, those that could not be made, which says nothing of the backend.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.unknown),
  },
  {
    name: 'xdp_health_checks_missed_total',
    type: 'counter',
    help: 'Health checks that were left out because the watcher got no time for them.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.missed),
  },
  {
    name: 'xdp_health_checks_running',
    type: 'gauge',
    help: 'Health checks under way.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.running),
  },
  {
    name: 'xdp_health_check_lateness_seconds_total',
    type: 'counter',
    help: 'By how much health checks started late, added up.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks && checks.lateness.sumMs / 1000),
  },
  {
    name: 'xdp_health_check_lateness_seconds_max',
    type: 'gauge',
    help: 'By how much the latest one of them started late.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks && checks.lateness.maxMs / 1000),
  },
  {
    name: 'xdp_health_writes_total',
    type: 'counter',
    help: 'Changes of health that were written into the kernel.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.writes),
  },
]
