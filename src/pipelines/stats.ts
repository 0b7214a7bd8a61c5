// The pipeline of stats: counters and gauges, and nothing that is expensive to read.

import { describePending } from '../kernel/host/pending.ts'
import { readStats as readKernelStats } from '../kernel/report/stats.ts'
import type { Stats } from '../report/stats.ts'
import { type Host, interruptible, openSession } from './session.ts'

/** Reads counters and gauges. Throws E201 in another namespace, E116 if the program of another build is live. */
export async function readStats(host: Host): Promise<Stats> {
  return interruptible(host, async () => {
    const { paths } = await openSession(host, 'pins')
    const stats = await readKernelStats(paths)
    return { ...stats, pending: stats.pending && (await describePending(host, stats.pending)) }
  })
}
