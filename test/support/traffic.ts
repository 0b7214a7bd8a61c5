// Traffic with every packet accounted for: accepted by the sender's kernel, dropped by the veth for lack of room, or
// arrived at the UDP layer of the filtering host (without a listener, so all of it counts as "no port").

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { Lab } from './hosts.ts'

const SENDER = fileURLToPath(new URL('./sender.mjs', import.meta.url))
const PORT = 9

export interface Arrivals {
  readonly v4: number
  readonly v6: number
}

/** Number of datagrams that reached the UDP layer of the filtering host so far. */
export function arrivals(lab: Lab): Arrivals {
  const snmp = lab.in(lab.host, 'cat', '/proc/net/snmp')
  const [names, values] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(/\s+/)) as [string[], string[]]
  const v4 = ['InDatagrams', 'NoPorts', 'InErrors'].reduce((sum, name) => sum + Number(values[names.indexOf(name)]), 0)
  const snmp6 = lab.in(lab.host, 'cat', '/proc/net/snmp6')
  const v6 = ['Udp6InDatagrams', 'Udp6NoPorts', 'Udp6InErrors'].reduce(
    (sum, name) => sum + Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(snmp6)?.[1] ?? '0'),
    0,
  )
  return { v4, v6 }
}

/** Number of packets that the wire itself lost since its creation, because the receiving end had no room. */
export function wireDrops(lab: Lab, wire: string): number {
  const read = (netns: string, device: string): number[] => {
    const [link] = JSON.parse(lab.in(netns, 'ip', '-j', '-s', 'link', 'show', 'dev', device)) as [
      { stats64: { rx: { dropped: number; missed_errors?: number; over_errors?: number }; tx: { dropped: number } } },
    ]
    return [link.stats64.tx.dropped, link.stats64.rx.dropped]
  }
  const [peerTx = 0] = read(lab.peer, lab.peerEnd(wire))
  return peerTx
}

export interface Flood {
  /** Stops and returns the number sent by each source. */
  readonly stop: () => Promise<Record<string, number>>
}

/** Datagrams per burst; one burst per millisecond gives about 8,000 per second and source on any machine. */
const BURST = 8

/** Sends from each source to its target until stopped; resolves when the sender runs. */
export async function flood(
  lab: Lab,
  pairs: readonly { readonly source: string; readonly target: string }[],
): Promise<Flood> {
  const words = [SENDER, `${PORT}`, `${BURST}`, ...pairs.map(({ source, target }) => `${source}>${target}`)]
  const child = spawn('nsenter', [`--net=/run/netns/${lab.peer}`, process.execPath, ...words], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const closed = once(child, 'close')
  return {
    stop: async () => {
      child.stdin.end()
      await closed
      return JSON.parse(output) as Record<string, number>
    },
  }
}

/**
 * Runs `body` while 192.0.2.2, which every policy passes, and 2001:db8::2, which every policy blocks, send to the
 * filtering host. All packets of the first must arrive, and none of the second.
 */
export async function judged(lab: Lab, body: () => Promise<void>): Promise<void> {
  const start = arrivals(lab)
  const dropsBefore = wireDrops(lab, 'eth0')
  const traffic = await flood(lab, [
    { source: '192.0.2.2', target: '192.0.2.1' },
    { source: '2001:db8::2', target: '2001:db8::1' },
  ])
  let sent: Record<string, number> = {}
  try {
    await body()
  } finally {
    sent = await traffic.stop()
  }
  const end = arrivals(lab)
  const lostOnTheWire = wireDrops(lab, 'eth0') - dropsBefore
  expect(sent['192.0.2.2']).toBeGreaterThan(1000)
  expect(sent['2001:db8::2']).toBeGreaterThan(1000)
  expect(end.v6 - start.v6, 'blocked packets that got through').toBe(0)
  const lost = (sent['192.0.2.2'] ?? 0) - (end.v4 - start.v4)
  expect(lost, `passing packets that were lost (the wire itself lost ${lostOnTheWire})`).toBeLessThanOrEqual(
    lostOnTheWire,
  )
  expect(lost).toBeGreaterThanOrEqual(0)
}
