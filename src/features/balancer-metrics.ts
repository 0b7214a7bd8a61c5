// Metrics of the balancer: services with their flow table, backends with their health, and the daemon's health checks.

import { withPort } from '../model/service.ts'
import type { Metric, Report, Sample } from '../report/metric.ts'
import type { BackendStatus, ServiceStatus } from '../report/result.ts'

const SERVICE_LABELS = ['service']
const BACKEND_LABELS = ['service', 'backend']

const byService =
  (value: (status: ServiceStatus) => number) =>
  ({ stats }: Report): readonly Sample[] =>
    stats.services.map((status): Sample => [[status.service.name], value(status)])

const byBackend =
  (value: (backend: BackendStatus) => number, labels: (backend: BackendStatus) => readonly string[] = () => []) =>
  ({ stats }: Report): readonly Sample[] =>
    stats.services.flatMap(({ service, backends }) =>
      backends.map(
        (backend): Sample => [
          [service.name, withPort(backend.address, backend.port), ...labels(backend)],
          value(backend),
        ],
      ),
    )

/** Backends that take new flows according to the file, without backups. */
const active = ({ backends }: ServiceStatus): readonly BackendStatus[] =>
  backends.filter(({ role, state, weight }) => role === 'backend' && state === 'active' && weight > 0)

export const BALANCER_METRICS: readonly Metric[] = [
  {
    name: 'xdp_service_packets_total',
    type: 'counter',
    help: 'Packets of a service that went to backends.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.packets),
  },
  {
    name: 'xdp_service_bytes_total',
    type: 'counter',
    help: 'Bytes of these packets.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.bytes),
  },
  {
    name: 'xdp_service_flows_total',
    type: 'counter',
    help: 'New flows of a service: TCP by SYN, UDP by the first packet.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.flows),
  },
  {
    name: 'xdp_service_flow_hits_total',
    type: 'counter',
    help: 'Forwarded packets whose flow was in the flow table.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.hits),
  },
  {
    name: 'xdp_service_flow_misses_total',
    type: 'counter',
    help: 'Forwarded packets whose flow was not in the flow table.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.misses),
  },
  {
    name: 'xdp_service_flows_limited_total',
    type: 'counter',
    help: 'New flows that did not enter the flow table, because a CPU had too many in a second.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.limited),
  },
  {
    name: 'xdp_service_no_backend_packets_total',
    type: 'counter',
    help: 'Packets that found no backend in use: dropped, passed or rejected by `on_empty`.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.empty),
  },
  {
    name: 'xdp_service_unresolved_total',
    type: 'counter',
    help: 'Times that a backend was skipped because its next hop is unknown.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.unresolved),
  },
  {
    name: 'xdp_service_too_big_packets_total',
    type: 'counter',
    help: 'Packets answered with "packet too big", because they exceed the MTU of the path to the backend.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.too_big),
  },
  {
    name: 'xdp_service_replies_total',
    type: 'counter',
    help: 'Replies of backends whose addresses were translated back.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.replies),
  },
  {
    name: 'xdp_service_exhausted_packets_total',
    type: 'counter',
    help: 'Packets for which the source pool had no free port.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.exhausted),
  },
  {
    name: 'xdp_service_icmp_errors_total',
    type: 'counter',
    help: 'ICMP errors forwarded to the backend of their flow.',
    labels: SERVICE_LABELS,
    samples: byService((status) => status.icmp),
  },
  {
    name: 'xdp_service_info',
    type: 'gauge',
    help: 'Mode of a service: well = new flows go to backends, empty = no backend is in use, backup, drop or sorry = its fallback; always 1.',
    labels: [...SERVICE_LABELS, 'mode'],
    samples: ({ stats }) => stats.services.map(({ service, mode }): Sample => [[service.name, mode], 1]),
  },
  {
    name: 'xdp_service_backends',
    type: 'gauge',
    help: 'Backends of a service that are active and have a weight.',
    labels: SERVICE_LABELS,
    samples: byService((status) => active(status).length),
  },
  {
    name: 'xdp_service_healthy_backends',
    type: 'gauge',
    help: 'Active backends that take new flows: they are up and their next hop is known.',
    labels: SERVICE_LABELS,
    samples: byService((status) => active(status).filter((one) => one.health !== 'down' && one.next_hop).length),
  },
  {
    name: 'xdp_backend_packets_total',
    type: 'counter',
    help: 'Packets that went to a backend.',
    labels: BACKEND_LABELS,
    samples: byBackend((backend) => backend.packets),
  },
  {
    name: 'xdp_backend_bytes_total',
    type: 'counter',
    help: 'Bytes of these packets.',
    labels: BACKEND_LABELS,
    samples: byBackend((backend) => backend.bytes),
  },
  {
    name: 'xdp_backend_flows_total',
    type: 'counter',
    help: 'New flows that went to a backend.',
    labels: BACKEND_LABELS,
    samples: byBackend((backend) => backend.flows),
  },
  {
    name: 'xdp_backend_info',
    type: 'gauge',
    help: 'State of a backend in the config, and its role: backend, backup, sorry or leaving; always 1.',
    labels: [...BACKEND_LABELS, 'state', 'role'],
    samples: byBackend(
      () => 1,
      ({ state, role }) => [state, role],
    ),
  },
  {
    name: 'xdp_backend_up',
    type: 'gauge',
    help: '1 = the backend is up or has no health check; 0 = it is down.',
    labels: BACKEND_LABELS,
    samples: byBackend(({ health }) => Number(health !== 'down')),
  },
  {
    name: 'xdp_backend_share',
    type: 'gauge',
    help: 'Part of its weight that is in effect, 0 to 1: below 1 during slow start.',
    labels: BACKEND_LABELS,
    samples: byBackend(({ share }) => share),
  },
  {
    name: 'xdp_backend_weight',
    type: 'gauge',
    help: 'Weight of a backend in the config.',
    labels: BACKEND_LABELS,
    samples: byBackend(({ weight }) => weight),
  },
  {
    name: 'xdp_backend_resolved',
    type: 'gauge',
    help: '1 = the next hop of the backend is known; 0 = it is unknown, and the backend gets no traffic.',
    labels: BACKEND_LABELS,
    samples: byBackend(({ next_hop }) => Number(next_hop !== undefined)),
  },
]
