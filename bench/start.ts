// npm run bench start [-- --rounds N]: measures the command line's start-up time, as a ratio to a Node process that
// does nothing: `node -e 0`, `xdp --version`, a word that a shell completes, `xdp validate` and an `xdp plan` of a small
// file that finds no changes.
//
// Medians over rounds of one run each, in immediate succession, in a namespace and bpffs of the benchmark.

import { parseArgs } from 'node:util'
import { type Cost, makeHost, sh, time } from './support/host.ts'
import { conclude, median, ratioText, table } from './support/report.ts'

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } })

const host = makeHost()
host.write(
  'xdp.yaml',
  `version: 1
interfaces:
  ${host.device}: {}
allowlist:
  - { name: office, cidrs: [198.51.100.8, "2001:db8:1::/48"] }
blocklist:
  - 203.0.113.0/24
  - { name: scanners, cidrs: [192.0.2.128/25, "2001:db8:5ca0::/44"], protocol: tcp, destination_port: 22 }
`,
)

const file = `${host.directory}/xdp.yaml`
const subjects = {
  'node -e 0': [process.execPath, '-e', '0'],
  'xdp --version': host.xdp('--version'),
  // The word of completion stands first, where --bpffs stands otherwise.
  'a completed word': [...host.xdp().slice(0, -2), '__complete', '--', 'plan', '--'],
  'xdp validate': host.xdp('validate', '-f', file),
  'xdp plan (no changes)': host.xdp('plan', '--detailed-exitcode', '-f', file),
  'xdp ban': host.xdp('ban', '198.18.0.1', '--ttl', '1h'),
} as const
type Subject = keyof typeof subjects

const [apply, ...args] = host.xdp('apply', '--auto-approve', '-f', file) as [string, ...string[]]
sh(apply, ...args)
const costs = new Map<Subject, Cost[]>()
for (let round = 0; round <= Number(options.rounds); round++) {
  for (const [name, argv] of Object.entries(subjects) as [Subject, string[]][]) {
    const cost = await time(argv)
    // The first round brings the files into the page cache.
    if (round > 0) costs.set(name, [...(costs.get(name) ?? []), cost])
  }
}

const wall = (name: Subject): number => median((costs.get(name) as Cost[]).map((cost) => cost.wall))
const cpu = (name: Subject): number => median((costs.get(name) as Cost[]).map((cost) => cost.cpu))
const rows = [...costs.keys()].map((name) => [
  name,
  (1000 * wall(name)).toFixed(0),
  (1000 * cpu(name)).toFixed(0),
  ratioText(wall(name) / wall('node -e 0')),
])
console.log(table(['', 'ms', 'CPU ms', '× node -e 0'], rows))
conclude(
  'start',
  [
    {
      what: 'a small no-op plan as a ratio to node -e 0',
      kind: 'target',
      limit: 4,
      measured: wall('xdp plan (no changes)') / wall('node -e 0'),
    },
  ],
  { costs: Object.fromEntries(costs) },
)
