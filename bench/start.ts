// npm run bench start [-- --rounds N] [--executable FILE --node FILE]: measures the command line's start-up time, as a ratio to a
// Node process that does nothing: `node -e 0`, `xdp --version`, a word that a shell completes, `xdp validate`, an `xdp plan`
// of a small file that finds no changes, `xdp unban`, and `xdp ban` without a daemon and with one.
//
// With an executable of `npm run package` and the Node in it (build/node), its plan and its ban too, as ratios to that Node.
//
// Medians over rounds of one run each, in immediate succession, in a namespace and bpffs of the benchmark. Ratios are medians
// of those of each round, so that other work on the machine disturbs both sides alike.

import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { type Cost, makeHost, sh, time } from './support/host.ts'
import { conclude, median, ratioText, table } from './support/report.ts'

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, executable: { type: 'string' }, node: { type: 'string' } },
})

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
  'xdp unban': host.xdp('unban', '198.18.0.1'),
} as const

const NODE_WITHIN = 'node -e 0 (of the executable)'
const PLAN_WITHIN = 'executable: plan (no changes)'

/** The subjects of the executable and its Node, if there is one. */
function ofExecutable(path: string | undefined, node = process.execPath): Readonly<Record<string, readonly string[]>> {
  if (path === undefined) return {}
  const run = (...args: readonly string[]): string[] =>
    host.xdp(...args).flatMap((word) => (word === process.execPath ? [path] : /\/xdp\.js$/.test(word) ? [] : [word]))
  return {
    [NODE_WITHIN]: [node, '-e', '0'],
    [PLAN_WITHIN]: run('plan', '--detailed-exitcode', '-f', file),
    'executable: ban': run('ban', '198.18.0.1', '--ttl', '1h'),
  }
}

const [apply, ...args] = host.xdp('apply', '--auto-approve', '-f', file) as [string, ...string[]]
sh(apply, ...args)
const costs = new Map<string, Cost[]>()

async function measure(chosen: Readonly<Record<string, readonly string[]>>): Promise<void> {
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const [name, argv] of Object.entries(chosen)) {
      const cost = await time(argv)
      // The first round brings the files into the page cache.
      if (round > 0) costs.set(name, [...(costs.get(name) ?? []), cost])
    }
  }
}

const WATCHED = 'xdp ban (with a daemon)'
const NODE_BESIDE = 'node -e 0 (beside a daemon)'
await measure({ ...subjects, ...ofExecutable(options.executable, options.node) })
const [watch = '', ...words] = host.xdp('watch', '-f', file)
const daemon = spawn(watch, words, { stdio: ['ignore', 'pipe', 'ignore'] })
try {
  let events = ''
  for await (const data of daemon.stdout) {
    events += String(data)
    if (events.includes('"ready"')) break
  }
  await measure({ [NODE_BESIDE]: subjects['node -e 0'], [WATCHED]: subjects['xdp ban'] })
} finally {
  daemon.kill('SIGTERM')
}

type Unit = 'wall' | 'cpu'
const of = (name: string, unit: Unit): number[] => (costs.get(name) as Cost[]).map((cost) => cost[unit])
const bareOf = (name: string): string =>
  name === WATCHED ? NODE_BESIDE : name.startsWith('executable') ? NODE_WITHIN : 'node -e 0'

/** How many times the cost of a Node that does nothing. */
function ratio(name: string, unit: Unit = 'wall'): number {
  const bare = of(bareOf(name), unit)
  return median(of(name, unit).map((cost, round) => cost / (bare[round] as number)))
}

const rows = [...costs.keys()].map((name) => [
  name,
  ...(['wall', 'cpu'] as const).map((unit) => (1000 * median(of(name, unit))).toFixed(0)),
  ...(['wall', 'cpu'] as const).map((unit) => ratioText(ratio(name, unit))),
])
console.log(table(['', 'ms', 'CPU ms', '× node -e 0', 'in CPU time'], rows))
conclude(
  'start',
  [
    {
      what: 'a small no-op plan as a ratio to node -e 0',
      kind: 'target',
      limit: 2.5,
      measured: ratio('xdp plan (no changes)'),
    },
    ...(options.executable === undefined
      ? []
      : [
          {
            what: 'such a plan of the executable as a ratio to its Node',
            kind: 'target' as const,
            limit: 2.5,
            measured: ratio(PLAN_WITHIN),
          },
        ]),
    {
      what: 'a ban without a daemon as a ratio to node -e 0',
      kind: 'target',
      limit: 1.5,
      measured: ratio('xdp ban'),
    },
    {
      what: 'a ban with a daemon as a ratio to node -e 0',
      kind: 'target',
      limit: 1.5,
      measured: ratio(WATCHED),
    },
  ],
  { costs: Object.fromEntries(costs) },
)
