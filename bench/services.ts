// npm run bench services [-- --services N] [-- --backends N] [-- --rounds N] [-- --edits N]: measures the time for many
// services: to read the file, to apply it for the first time, to find no changes, and to change one backend, by a
// command and by the daemon.
//
// An edit for the daemon also blocks the peer's source address: its time is from the close of the file to the first
// packet judged by the new policy, without the debounce time.
//
// All backends are in one network, whose neighbours are known. `distinct`: every service has different backends, so
// that no two tables are equal. Medians over rounds; the exchange files of `xdp` are on a tmpfs if there is one.

import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { connect as connectPeer, DEBOUNCE, EDIT_HEADINGS, editRow, source, timeEdits } from './support/edits.ts'
import { type Cost, makeHost, time } from './support/host.ts'
import { conclude, median, table } from './support/report.ts'

const { values: options } = parseArgs({
  options: {
    services: { type: 'string', default: '512' },
    backends: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '3' },
    edits: { type: 'string', default: '15' },
    distinct: { type: 'boolean', default: false },
  },
})
const SERVICES = Number(options.services)
const BACKENDS = Number(options.backends)
const EDITS = Number(options.edits)
const GATEWAY = '10.0.0.2'

const host = makeHost()

/** All backends are behind one router, except for those of the first network. */
function connect(): void {
  host.in('ip', 'addr', 'add', '10.0.0.1/24', 'dev', host.device)
  host.in('ip', 'route', 'add', '10.0.0.0/8', 'via', GATEWAY, 'dev', host.device)
  const neighbour = `neigh replace ${GATEWAY} lladdr 02:00:00:00:00:02 dev ${host.device} nud permanent\n`
  execFileSync('ip', ['-n', host.netns, '-batch', '-'], { input: neighbour })
}

function addressOf(service: number, backend: number): string {
  const number = (options.distinct ? service * BACKENDS : 0) + backend
  return `10.${1 + (number >> 14)}.${(number >> 7) & 127}.${1 + (number & 127)}`
}

/**
 * `weight`: of one backend of one service; 0: without it. `blocked`: number of the peer's source addresses to block.
 */
function config(weight: number, blocked = 0): string {
  const services = Array.from({ length: SERVICES }, (_, service) => {
    const backends = Array.from({ length: BACKENDS }, (__, backend) => {
      const address = addressOf(service, backend)
      if (service !== SERVICES >> 1 || backend !== BACKENDS >> 1) return [address]
      return weight === 0 ? [] : [`{ address: ${address}, weight: ${weight} }`]
    }).flat()
    const vip = `203.0.113.${1 + (service & 127)}`
    const rest = `protocol: tcp, forwarding: dsr, backends: [${backends.join(', ')}] }`
    return `  s${service}: { vip: ${vip}, port: ${1000 + service}, ${rest}\n`
  })
  const blocklist = `blocklist: [${Array.from({ length: blocked }, (_, round) => source(round)).join(', ')}]\n`
  const rest = blocked === 0 ? '' : blocklist
  return `version: 1\ninterfaces:\n  ${host.device}: {}\n${rest}services:\n${services.join('')}`
}

const costs = new Map<string, Cost[]>()

async function run(subject: string, weight: number, ...command: readonly string[]): Promise<void> {
  const file = host.write('xdp.yaml', config(weight))
  const cost = await time(host.xdp(...command, '-f', file))
  costs.set(subject, [...(costs.get(subject) ?? []), cost])
}

const APPLY = ['apply', '--auto-approve']
connect()
for (let round = 0; round < Number(options.rounds); round++) {
  await run('validate', 1, 'validate')
  await run('first apply', 1, ...APPLY)
  await run('plan, no changes', 1, 'plan', '--detailed-exitcode')
  await run('another weight', 2, ...APPLY)
  await run('a backend removed', 0, ...APPLY)
  await run('a backend added', 1, ...APPLY)
  const [destroy, ...args] = host.xdp('destroy', '--auto-approve') as [string, ...string[]]
  execFileSync(destroy, args)
}

connectPeer(host, EDITS)
host.write('xdp.yaml', config(1))
const edits = await timeEdits(host, EDITS, (round) => host.write('xdp.yaml', config(2 + (round & 1), round + 1)))

const of = (subject: string, what: 'wall' | 'cpu'): number =>
  median((costs.get(subject) as Cost[]).map((cost) => cost[what]))
console.log(`${SERVICES} services with ${BACKENDS} backends each${options.distinct ? ', all different' : ''}\n`)
console.log(
  table(
    ['', 's', 'CPU s', 'MiB'],
    [...costs.keys()].map((subject) => [
      subject,
      of(subject, 'wall').toFixed(2),
      of(subject, 'cpu').toFixed(2),
      (Math.max(...(costs.get(subject) as Cost[]).map(({ memory }) => memory)) / 2 ** 20).toFixed(0),
    ]),
  ),
)
console.log(
  `\nanother weight of one backend, by the daemon: ms after the debounce of ${DEBOUNCE} ms (${EDITS} edits)\n`,
)
console.log(table(EDIT_HEADINGS, [editRow(edits)]))
const claim = (what: string, limit: number, subject: string) =>
  ({ kind: 'target', what, limit, measured: 1000 * of(subject, 'wall'), unit: 'ms' }) as const
const byDaemon = {
  kind: 'target',
  what: 'one backend changed',
  limit: 300,
  measured: median(edits.times),
  unit: 'ms',
} as const
conclude('services', [claim('first apply', 3000, 'first apply'), byDaemon], { costs: Object.fromEntries(costs), edits })
