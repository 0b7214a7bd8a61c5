// The process that makes health checks through VIPs, in a network namespace that holds only them. The daemon starts it
// and sends it one message per check; it ends with the daemon.

import { makeProbe } from './watch/health/probes/probe.ts'
import type { Answer, Order } from './watch/health/probes/remote.ts'

const probe = makeProbe(() => performance.now())
const running = new Map<number, () => void>()
const answer = (message: Answer): void => void process.send?.(message)

process.on('message', (order: Order) => {
  const { id } = order
  if (order.kind === 'stop') {
    running.get(id)?.()
    running.delete(id)
    return
  }
  let isDone = false
  const done = (result: Answer['result']): void => {
    isDone = true
    running.delete(id)
    answer({ id, result })
  }
  const abandon = probe(order.check, order.subject, done, order.source)
  if (!isDone) running.set(id, abandon)
})
process.on('disconnect', () => process.exit())
answer({ id: 0, result: { outcome: 'good' } })
