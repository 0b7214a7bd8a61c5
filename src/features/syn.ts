// The protection of ports of this host from SYN floods: what it has counted, and since when it answers. The sockets of the
// kernel make the cookies (bpf/include/syn.h).

import { synCounterCodec, synStateCodec } from '../abi/generated.ts'
import { arrayMap, perCpuMap } from '../abi/paths.ts'
import type { Metric, Report } from '../report/metric.ts'
import type { SynStatus } from '../report/result.ts'
import type { Feature } from './feature.ts'

const maps = {
  state: arrayMap('syn_state', synStateCodec.size, 1),
  stats: perCpuMap('syn_stats', synCounterCodec.size, 1),
} as const

const metric = (
  name: Metric['name'],
  type: Metric['type'],
  help: string,
  value: (status: SynStatus) => number,
): Metric => ({
  name,
  type,
  help,
  labels: [],
  samples: ({ stats: { syn_protection: status } }: Report) => (status ? [[[], value(status)]] : []),
})

const METRICS: readonly Metric[] = [
  metric(
    'xdp_syn_answering',
    'gauge',
    '1 while SYNs to protected ports are answered with cookies, else 0.',
    (status) => (status.answering ? 1 : 0),
  ),
  metric('xdp_syn_floods_total', 'counter', 'Times at which `mode: auto` began to answer.', ({ floods }) => floods),
  metric('xdp_syn_packets_total', 'counter', 'SYNs to protected ports.', ({ syns }) => syns),
  metric('xdp_syn_answered_packets_total', 'counter', 'SYNs answered with a cookie.', ({ answered }) => answered),
  metric(
    'xdp_syn_left_packets_total',
    'counter',
    'SYNs left to the kernel while others were answered: no socket listens, or the kernel gives no cookie.',
    ({ left }) => left,
  ),
  metric(
    'xdp_syn_completed_packets_total',
    'counter',
    'Handshakes completed, while completions are counted: above the threshold of SYNs, and while these are answered.',
    ({ completed }) => completed,
  ),
  metric(
    'xdp_syn_invalid_packets_total',
    'counter',
    'Acknowledgments without a socket and a valid cookie, dropped.',
    ({ invalid }) => invalid,
  ),
]

export const SYN = {
  name: 'syn',
  maps,
  programs: {},
  parts: { syn: ({ policy }) => (policy?.syn_protection ?? '') !== '' },
  reasons: ['syn-answered', 'syn-cookie-invalid'],
  needs: [
    { since: [5, 3], what: 'SYN cookies made by programs (bpf_tcp_gen_syncookie)' },
    { since: [5, 9], what: 'sockets as the kernel has them (bpf_skc_to_tcp_sock)' },
    { since: [5, 12], what: 'MTUs of interfaces in XDP (bpf_check_mtu)' },
  ],
  metrics: METRICS,
} as const satisfies Feature
