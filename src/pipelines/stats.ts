// The pipeline of stats: look at the counters, and at nothing that is dear to read.

import { pinPaths } from '../abi/paths.ts'
import { type Host, requireHost } from '../kernel/host/host.ts'
import { readStats as readKernelStats } from '../kernel/report/stats.ts'
import type { Stats } from '../report/stats.ts'

/** Counters and gauges of the host's instance. Throws E201 in another namespace, E116 below another build's program. */
export async function readStats(host: Host): Promise<Stats> {
  await requireHost(host)
  return readKernelStats(pinPaths(host.bpffs, host.instance))
}
