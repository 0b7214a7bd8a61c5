// The process that makes health checks through VIPs, in a network namespace that holds only them. The daemon starts it
// and sends it one message per check; it ends with the daemon.

import { writeFileSync } from 'node:fs'
import { makeProbe } from './watch/health/probes/probe.ts'
import type { Answer, Order } from './watch/health/probes/remote.ts'

/**
 * Settings of TCP in this namespace. Each backend has few ports, so a closed connection must not occupy its port any
 * longer: no TIME-WAIT (nothing else connects from here), and one repetition of an unanswered FIN.
 */
const SETTINGS = { tcp_max_tw_buckets: 0, tcp_orphan_retries: 1 }

for (const [name, value] of Object.entries(SETTINGS)) {
  try {
    writeFileSync(`/proc/sys/net/ipv4/${name}`, `${value}`)
  } catch {
    // /proc is read-only here: a check may find its port occupied, and then says nothing about its backend.
  }
}

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
  const { check, subject, source } = order
  let isDone = false
  const abandon = probe(
    check,
    subject,
    (result) => {
      isDone = true
      running.delete(id)
      answer({ id, result })
    },
    source,
  )
  if (!isDone) running.set(id, abandon)
})
process.on('disconnect', () => process.exit())
answer({ id: 0, result: { outcome: 'good' } })
