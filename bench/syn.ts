// npm run bench syn [-- --rounds N] [-- --milliseconds N] [-- --real-time] [-- --clients N] [-- --skip-clients]: what the answer to a SYN costs, and how many real
// clients connect during a flood, with protection and without.
//
// Costs are medians over rounds of all subjects in turns. The first table has the program alone, in test runs with SYNs of 2^20
// senders; the second the CPU time of the receiver of live frames, with everything that the kernel does around them, so that
// ours compares with the kernel's own cookies and with nftables synproxy. Their ratios depend less on the machine and its load.
// With --real-time its processes go before all ordinary ones, for a machine with other work: choose short turns then.

import { parseArgs } from 'node:util'
import { protectedBy, SynFlood } from '../test/support/syn-flood.ts'
import { whyNoFlood } from './support/flood.ts'
import { type Claim, conclude, median, table } from './support/report.ts'
import { type LiveResult, type Measured, measureAlone, measureLive } from './support/syn.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    milliseconds: { type: 'string', default: '200' },
    'real-time': { type: 'boolean', default: false },
    clients: { type: 'string', default: '1000' },
    'skip-clients': { type: 'boolean', default: false },
  },
})
const ROUNDS = Number(options.rounds)
const CLIENTS = Number(options.clients)
const AT_ONCE = 64

const above = (all: readonly Measured[], name: string): number => {
  const of = (wanted: string): number => median(all.find((one) => one.name === wanted)?.times ?? [])
  return of(name) - of('XDP_DROP')
}

function showLive({ measured, answered, busy }: LiveResult): void {
  const ours = median(measured.find(({ name }) => name === 'ours')?.times ?? [])
  const percent = (share = 0): string => `${(100 * share).toFixed(0)} %`
  const rows = measured.map(({ name, times }) => [
    name,
    median(times).toFixed(0),
    `${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)}`,
    (median(times) / ours).toFixed(2),
    percent(answered.get(name)),
    percent(busy.get(name)),
  ])
  console.log(`\n${table(['live frames, per SYN', 'ns', 'range', '/ ours', 'answered', 'busy'], rows)}`)
}

interface Connected {
  /** Clients with an answer within five seconds. */
  readonly good: number
  /** Until the last client had one, or gave up. */
  readonly seconds: number
}

/** Outcomes of the clients, for each way to meet the flood. */
async function connectAll(): Promise<Map<string, Connected>> {
  const flooded = new SynFlood()
  const found = new Map<string, Connected>()
  try {
    await flooded.open()
    const round = async (name: string): Promise<void> => {
      process.stderr.write(`${CLIENTS} clients, ${name} …\n`)
      await flooded.flood()
      // The flood fills queues, or begins to be answered.
      await new Promise((resolve) => setTimeout(resolve, 2000))
      const start = performance.now()
      const good = await flooded.connect(CLIENTS, AT_ONCE)
      found.set(name, { good, seconds: (performance.now() - start) / 1000 })
      await flooded.calm()
    }
    for (const cookies of [0, 1, 2]) {
      flooded.set(cookies, 1)
      await round(`without protection, tcp_syncookies ${cookies}`)
    }
    flooded.set(2, 2)
    flooded.lab.write('xdp.yaml', protectedBy('auto', 2000))
    await flooded.lab.ok('apply', '--auto-approve')
    await round('with protection')
    return found
  } finally {
    await flooded.close()
  }
}

const alone = await measureAlone(ROUNDS)
const rows = alone.slice(1).map(({ name }) => [name, above(alone, name).toFixed(0)])
console.log(table(['the program alone', 'ns per SYN above XDP_DROP'], rows))
const claims: Claim[] = [
  { kind: 'budget', what: 'answered: above XDP_DROP', limit: 250, measured: above(alone, 'answered'), unit: 'ns' },
]
const reason = whyNoFlood()
const live = reason ? undefined : await measureLive(ROUNDS, Number(options.milliseconds), options['real-time'])
if (live) showLive(live)
for (const skipped of live?.skipped ?? [`live frames: ${reason}`]) console.log(`SKIP ${skipped}`)
const clients = options['skip-clients'] ? new Map<string, Connected>() : await connectAll()
if (clients.size > 0) {
  const shares = [...clients].map(([name, { good, seconds }]) => [
    ...[name, `${good}`, `${((100 * good) / CLIENTS).toFixed(1)} %`, seconds.toFixed(1)],
  ])
  console.log(`\n${table([`${CLIENTS} clients during a flood`, 'connected', '', 'seconds'], shares)}`)
  const failed = 1 - (clients.get('with protection')?.good ?? 0) / CLIENTS
  claims.push({ kind: 'budget', what: 'clients that fail with protection', limit: 0.001, measured: failed })
}
conclude('syn', claims, { alone, live: live?.measured, clients: Object.fromEntries(clients) })
