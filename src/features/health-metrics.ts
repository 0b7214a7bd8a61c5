// Metrics of health checks, which only a running daemon knows.

import { type Metric, one } from '../report/metric.ts'

export const HEALTH_METRICS: readonly Metric[] = [
  {
    name: 'xdp_health_checks_total',
    type: 'counter',
    help: 'Health checks that the daemon finished.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.checks),
  },
  {
    name: 'xdp_health_check_failures_total',
    type: 'counter',
    help: 'Health checks that the backend failed.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.failures),
  },
  {
    name: 'xdp_health_check_errors_total',
    type: 'counter',
    help: 'Health checks that could not run, which says nothing about the backend.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.unknown),
  },
  {
    name: 'xdp_health_checks_missed_total',
    type: 'counter',
    help: 'Health checks that were skipped because the daemon was too late for them.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.missed),
  },
  {
    name: 'xdp_health_checks_running',
    type: 'gauge',
    help: 'Health checks that are running.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.running),
  },
  {
    name: 'xdp_health_check_lateness_seconds_total',
    type: 'counter',
    help: 'Sum of the delays with which health checks started.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks && checks.lateness.sumMs / 1000),
  },
  {
    name: 'xdp_health_check_lateness_seconds_max',
    type: 'gauge',
    help: 'Longest delay with which a health check started.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks && checks.lateness.maxMs / 1000),
  },
  {
    name: 'xdp_health_writes_total',
    type: 'counter',
    help: 'Health bytes written to the kernel.',
    labels: [],
    samples: ({ surroundings: { checks } }) => one(checks?.writes),
  },
]
