// npm run bench lists [-- --rounds N] [-- --ten-million] [-- --skip-slow-edits]: measures loading and editing a list of
// a million addresses, from the start of the process to its exit: `xdp apply`, and other tools with the same list.
//
// Every figure is the median over rounds; a round runs all loaders one after the other. Everything happens in a network
// namespace and a bpffs of the benchmark. Compare ratios: seconds depend on the machine and its other load.

import { parseArgs } from 'node:util'
import { publicAddresses } from './support/addresses.ts'
import { type Cost, makeHost } from './support/host.ts'
import {
  type Loader,
  machineLoad,
  makeBpftool,
  makeIpset,
  makeNft,
  makeOwn,
  type OwnLoader,
  policyMemory,
} from './support/loaders.ts'
import { type Claim, conclude, MIB, median, table } from './support/report.ts'

const MILLION = 1_000_000
/** The header, the record of the list, a bucket, a line of its filter. */
const MOST_WRITTEN = 12

interface Costs {
  readonly load: Cost[]
  readonly plan: Cost[]
  readonly add: Cost[]
  readonly remove: Cost[]
}

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    'ten-million': { type: 'boolean', default: false },
    'skip-slow-edits': { type: 'boolean', default: false },
  },
})

const say = (text: string): void => void process.stderr.write(`${text}\n`)

async function runOnce(loader: Loader | OwnLoader, costs: Costs, extra: number, edit: boolean): Promise<void> {
  say(`  ${loader.name} …`)
  costs.load.push(await loader.load())
  if ('plan' in loader) {
    costs.plan.push(await loader.plan())
    written = loader.written(extra)
  }
  if (edit) {
    costs.add.push(await loader.add(extra))
    costs.remove.push(await loader.remove(extra))
  }
}

async function runAll(loaders: readonly Loader[], extra: number): Promise<Map<string, Costs>> {
  const all = new Map(loaders.map(({ name }) => [name, { load: [], plan: [], add: [], remove: [] } as Costs]))
  const rounds = Number(options.rounds)
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}, load ${machineLoad()}`)
    for (const loader of loaders) {
      const slow = options['skip-slow-edits'] ? 0 : loader.editRounds
      const edit = round < (loader.editRounds === undefined ? rounds : (slow ?? 0))
      await runOnce(loader, all.get(loader.name) as Costs, extra, edit)
      // Our tables' kernel memory can only be measured while the list is loaded.
      if ('plan' in loader && round === 0) kernelMemory = policyMemory(host)
      loader.clear()
    }
  }
  return all
}

const wall = (costs: readonly Cost[]): number => median(costs.map((cost) => cost.wall))
const cpu = (costs: readonly Cost[]): number => median(costs.map((cost) => cost.cpu))
const memory = (costs: readonly Cost[]): number => Math.max(...costs.map((cost) => cost.memory))
const seconds = (costs: readonly Cost[]): string =>
  costs.length === 0 ? '-' : `${wall(costs).toFixed(2)} (${cpu(costs).toFixed(2)})`

function print(all: ReadonlyMap<string, Costs>, skipped: readonly Loader[]): void {
  const own = [...all.values()][0] as Costs
  console.log(`${MILLION.toLocaleString('en')} random IPv4 addresses: seconds from start to exit (of CPU time)\n`)
  const rows = [...all].map(([name, costs]) => [
    name,
    seconds(costs.load),
    (wall(costs.load) / wall(own.load)).toFixed(1),
    seconds(costs.plan),
    seconds(costs.add),
    seconds(costs.remove),
    (memory(costs.load) / MIB).toFixed(0),
  ])
  console.log(table(['', 'load', '× ours', 'no-op plan', 'add one', 'remove one', 'peak MiB'], rows))
  console.log(`\nkernel memory of our maps: ${(kernelMemory / MIB).toFixed(1)} MiB`)
  console.log(`table lines written for one more address: ${written}, including the header`)
  for (const { name, missing } of skipped) console.log(`SKIP ${name}: ${missing}`)
}

function claimsOf(all: ReadonlyMap<string, Costs>): Claim[] {
  const own = all.get('xdp apply') as Costs
  const apply = wall(own.load)
  const against = (name: string, limit: number): Claim[] => {
    const costs = all.get(name)
    return costs
      ? [{ what: `apply as a share of ${name}`, kind: 'budget', limit, measured: apply / wall(costs.load) }]
      : []
  }
  const peak = Math.max(...[own.load, own.plan, own.add, own.remove].flat().map((cost) => cost.memory))
  return [
    ...against('ipset restore (hash:net)', 0.6),
    ...against('nft -f (interval set)', 0.15),
    { what: 'peak of the resident set', kind: 'budget', limit: 1024, measured: peak / MIB, unit: 'MiB' },
    { what: 'kernel memory', kind: 'budget', limit: 32, measured: kernelMemory / MIB, unit: 'MiB' },
    { what: 'no-op plan as a share of the apply', kind: 'target', limit: 0.5, measured: wall(own.plan) / apply },
    { what: 'one line added as a share of the apply', kind: 'target', limit: 0.5, measured: wall(own.add) / apply },
    { what: 'table lines written for one more line', kind: 'budget', limit: MOST_WRITTEN, measured: written },
  ]
}

/** Everything at ten times the size, once, with our loader only. */
async function tenMillion(
  own: OwnLoader,
  million: number,
): Promise<{ claims: Claim[]; results: Record<string, unknown> }> {
  const addresses = publicAddresses(10 * MILLION + 1)
  say('10,000,000 addresses …')
  own.prepare(addresses.subarray(0, 10 * MILLION))
  const load = await own.load()
  const plan = await own.plan()
  const add = await own.add(addresses[10 * MILLION] as number)
  const kernel = policyMemory(host)
  const peak = Math.max(load.memory, plan.memory, add.memory)
  own.clear()
  console.log('\n10,000,000 random IPv4 addresses, measured once\n')
  // CPU time, because the two were not measured alternately.
  const claims: Claim[] = [
    { what: '10,000,000: peak of the resident set', kind: 'target', limit: 4096, measured: peak / MIB, unit: 'MiB' },
    { what: '10,000,000: kernel memory', kind: 'target', limit: 512, measured: kernel / MIB, unit: 'MiB' },
    {
      what: '10,000,000: CPU time per line, as a ratio to 1,000,000',
      kind: 'target',
      limit: 1.5,
      measured: load.cpu / 10 / million,
    },
  ]
  const row = [load, plan, add].map((cost) => seconds([cost]))
  console.log(
    table(
      ['', 'load', 'no-op plan', 'add one', 'peak MiB', 'kernel MiB'],
      [['xdp apply', ...row, (peak / MIB).toFixed(0), (kernel / MIB).toFixed(0)]],
    ),
  )
  return { claims, results: { load, plan, add, peak, kernel } }
}

let kernelMemory = 0
let written = Number.NaN
const host = makeHost()

const addresses = publicAddresses(MILLION + 1)
const own = makeOwn(host)
const loaders: Loader[] = [own, makeIpset(host), makeNft(host, 'plain'), makeNft(host, 'interval'), makeBpftool(host)]
const skipped = loaders.filter(({ missing }) => missing !== undefined)
const usable = loaders.filter(({ missing }) => missing === undefined)
for (const loader of usable) loader.prepare(addresses.subarray(0, MILLION))
const all = await runAll(usable, addresses[MILLION] as number)
print(all, skipped)
const large = options['ten-million'] ? await tenMillion(own, cpu((all.get(own.name) as Costs).load)) : undefined
conclude('lists', [...claimsOf(all), ...(large?.claims ?? [])], {
  addresses: MILLION,
  costs: Object.fromEntries(all),
  kernelMemory,
  written,
  skipped: skipped.map(({ name, missing }) => ({ name, missing })),
  ...(large ? { tenMillion: large.results } : {}),
})
