// npm run bench balance [-- --rounds N] [--katran DIRECTORY]: measures the balancer's cost per packet, above a program
// that drops everything, the time to build its tables, and the time to load its programs. With a checkout of Katran's
// repository it compiles Katran's own program, gives it the same backends, and times both alternately on the same
// packets.
//
// A test run passes a program's output to its next run. So every turn begins by restoring the packet and, with several
// flows, setting the address of one of them; the time of the program that drops everything includes this, so it is
// subtracted. Undoing a tunnel is measured in the same round and subtracted too. Each program's own counters verify
// that every turn had the outcome of the first. Figures are medians over rounds that time all subjects alternately,
// each after an untimed run.

import { parseArgs } from 'node:util'
import { normalize } from '../src/model/ranges.ts'
import type { State } from '../src/model/state.ts'
import { SYN } from '../test/support/packets.ts'
import { backend, balancing, EGRESS, service } from '../test/support/services.ts'
import { Bench, type Outcome, openArrival, PORT, type Subject, VERDICTS, type Workload } from './support/balance.ts'
import { type RingTime, ringTimes, verifierCost } from './support/balance-costs.ts'
import { type Encapsulation, Katran } from './support/katran.ts'
import { addressesOf, stateOf } from './support/lookup.ts'
import { type Claim, conclude, median, ratioText, table } from './support/report.ts'
import { hosts4 } from './support/sets.ts'

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '11' }, katran: { type: 'string' } },
})

/** Capacity of the flow table, and number of flows in a case with many. */
const FLOWS = 2 ** 20
const MANY = 2 ** 16
const PREFIXES = 1_000_000
const arrival = openArrival()
/** Egress and ingress interface are equal, so that the verdict is XDP_TX. */
const HERE = { ...EGRESS, ifindex: arrival.ifindex, mtu: 9000 }

const backendsOf = (family: 4 | 6, net: number) =>
  Array.from({ length: 10 }, (_, i) =>
    backend(family === 4 ? `10.0.${net}.${i + 1}` : `fd00:${net}::${i + 1}`, { nextHop: HERE }),
  )

const FORWARDING = ['ipip', 'gue', 'dsr', 'nat'] as const
type Forwarding = (typeof FORWARDING)[number]
const vipOf = (family: 4 | 6, number: number): string => (family === 4 ? `192.0.2.${number}` : `2001:db8:f::${number}`)
const numberOf = (forwarding: Forwarding): number => 10 + FORWARDING.indexOf(forwarding)
/** VIPs of the services outside the matrix of families and kinds of forwarding. */
const MIXED = 20
const FULL = 21
const UNUSED = 99

/** A service for each kind of forwarding in either family, one of IPv4 in IPv6, and one of full NAT. */
const services: State = balancing(
  [
    ...([4, 6] as const).flatMap((family) =>
      FORWARDING.flatMap((forwarding) => {
        const at = `${vipOf(family, numberOf(forwarding))} ${PORT}`
        const backends = backendsOf(family, numberOf(forwarding))
        return (['tcp', 'udp'] as const).map((protocol) =>
          service(`${forwarding}-${family}-${protocol}`, at, { forwarding, protocol, backends }),
        )
      }),
    ),
    service('mixed', `${vipOf(4, MIXED)} ${PORT}`, { forwarding: 'ipip', backends: backendsOf(6, MIXED) }),
    service('full', `${vipOf(4, FULL)} ${PORT}`, {
      protocol: 'udp',
      backends: backendsOf(4, FULL),
      snatPool: ['10.9.0.1', '10.9.0.2'],
    }),
  ],
  { policy: { flows: FLOWS } },
)

/** A case: its packets, their expected outcome, and the target of their cost. */
interface Case {
  readonly name: string
  readonly workload: Workload
  readonly outcome: Outcome
  /** Bytes added by encapsulation. */
  readonly growth: number
  /** Target in nanoseconds above XDP_DROP. */
  readonly target: number | undefined
  /** Katran's build for this case, and the target of our cost as a share of Katran's. */
  readonly katran?: Encapsulation | undefined
  readonly ratio?: number | undefined
}

type Peer = Pick<Case, 'katran' | 'ratio'>

const PASSED: Outcome = { verdict: VERDICTS.pass, reason: 'default-pass' }
const SENT: Outcome = { verdict: VERDICTS.tx, reason: 'balanced' }

const ipip = (ratio?: number): Peer => ({ katran: 'ipip', ratio })
const gue = (ratio?: number): Peer => ({ katran: 'gue', ratio })

const to = (family: 4 | 6, number: number, more: Partial<Workload> = {}): Workload => ({
  family,
  protocol: 'tcp',
  flows: 1,
  destination: vipOf(family, number),
  ...more,
})
const sent = (name: string, workload: Workload, growth: number, target?: number, peer: Peer = {}): Case => ({
  name,
  workload,
  outcome: SENT,
  growth,
  target,
  ...peer,
})
const missed = (name: string, family: 4 | 6): Case => ({
  name,
  workload: to(family, UNUSED),
  outcome: PASSED,
  growth: 0,
  target: 45,
  ...ipip(0.6),
})

const IPIP = numberOf('ipip')
const GUE = numberOf('gue')
const DSR = numberOf('dsr')
const NAT = numberOf('nat')
const CASES: readonly Case[] = [
  missed('VIP miss', 4),
  missed('VIP miss, IPv6', 6),
  sent('IPIP, 1 flow', to(4, IPIP), 20, 130, ipip(0.7)),
  sent('IPIP, 1 flow of UDP', to(4, IPIP, { protocol: 'udp' }), 20, undefined, ipip()),
  sent('IPIP, 65,536 flows', to(4, IPIP, { flows: MANY }), 20, 350, ipip(0.5)),
  sent('IPIP, every packet a new flow', to(4, IPIP, { flows: 0, flags: SYN }), 20, 450, ipip(0.3)),
  sent('IPIP, IPv6 in IPv6', to(6, IPIP), 40, undefined, ipip()),
  sent('IPIP, IPv4 in IPv6', to(4, MIXED), 40, undefined, ipip()),
  sent('GUE', to(4, GUE), 28, 250, gue()),
  sent('GUE, IPv6 in IPv6', to(6, GUE), 48, undefined, gue()),
  sent('DSR', to(4, DSR), 0, 100),
  sent('DSR, IPv6', to(6, DSR), 0),
  sent('NAT', to(4, NAT), 0, 130),
  sent('NAT, IPv6', to(6, NAT), 0),
  sent('full NAT, UDP', to(4, FULL, { protocol: 'udp' }), 0),
]

/** Nanoseconds per packet. */
interface Times {
  readonly drop: number
  /** Cost above XDP_DROP: of XDP_TX, of ours, of Katran's. */
  readonly tx: number
  readonly over: number
  /** NaN without Katran. */
  readonly katran: number
}

interface Result extends Times, Pick<Case, 'name' | 'target' | 'ratio'> {}

/** Katran's builds; empty without a checkout. */
type Peers = ReadonlyMap<Encapsulation, Katran>

/** One round of one case. */
async function measure(
  bench: Bench,
  { name, workload, outcome, growth, katran }: Case,
  peers: Peers = new Map(),
): Promise<Times> {
  await bench.prepare(workload, growth)
  const time = (program: string, verdict: number, kind: Subject['kind'] = 'frags'): Promise<number> =>
    bench.time({ name, program, kind, verdict }, workload)
  const drop = await time('do_drop', VERDICTS.drop)
  const tx = await time('do_tx', VERDICTS.tx)
  const undo =
    growth === 0 ? 0 : ((await time('grow_thrice', VERDICTS.tx)) - (await time('grow_once', VERDICTS.tx))) / 2
  const raw = await bench.time(bench.subject(name, outcome), workload)
  const times = { drop, tx: tx - drop, over: raw - undo - drop, katran: Number.NaN }
  const peer = katran && peers.get(katran)
  if (!peer) return times
  const dropPlain = await time('do_drop_plain', VERDICTS.drop, 'plain')
  const rawPeer = await bench.time(peer.subject(name, outcome.verdict === VERDICTS.tx ? 'tx' : 'pass'), workload)
  return { ...times, katran: rawPeer - undo - dropPlain }
}

async function measureAll(bench: Bench, cases: readonly Case[], rounds: number, peers: Peers): Promise<Result[]> {
  const found = cases.map(() => [] as Times[])
  for (let round = 0; round < rounds; round++) {
    for (const [i, one] of cases.entries()) found[i]?.push(await measure(bench, one, peers))
  }
  return cases.map(({ name, target, ratio }, i) => {
    const of = (key: keyof Times): number => median((found[i] ?? []).map((one) => one[key]))
    return { name, target, ratio, drop: of('drop'), tx: of('tx'), over: of('over'), katran: of('katran') }
  })
}

/** Katran's builds, with our backends behind our VIPs. */
async function openPeers(checkout: string | undefined): Promise<Peers> {
  const peers = new Map<Encapsulation, Katran>()
  if (checkout === undefined) return peers
  try {
    for (const build of ['ipip', 'gue'] as const) {
      const number = numberOf(build)
      const mixed = build === 'ipip' ? [{ vips: [vipOf(4, MIXED)], port: PORT, backends: backendsOf(6, MIXED) }] : []
      const groups = ([4, 6] as const).map((family) => ({
        vips: [vipOf(family, number)],
        port: PORT,
        backends: backendsOf(family, number),
      }))
      peers.set(build, await Katran.open(checkout, build, [...groups, ...mixed], FLOWS))
    }
    return peers
  } catch (error) {
    closePeers(peers)
    throw error
  }
}

function closePeers(peers: Peers): void {
  for (const peer of peers.values()) peer.close()
}

/** Lists of single addresses, which contain no source of the flows. */
function listed(): State {
  const addresses = Uint32Array.from(addressesOf(hosts4(PREFIXES).set)).filter((word) => word >>> 24 !== 11)
  return stateOf([normalize(4, addresses, addresses.slice())])
}

/** Filter alone, balancer alone and both in one pass, on the same packets. */
async function compose(rounds: number): Promise<{ filter: number; balancer: number; both: number }> {
  const lists = listed()
  const states = { filter: { ...services, services: new Map() }, balancer: services, both: services }
  const benches = new Map<string, Bench>()
  const times: Record<keyof typeof states, number[]> = { filter: [], balancer: [], both: [] }
  try {
    for (const [name, state] of Object.entries(states)) {
      const bench = await Bench.open(name, arrival)
      benches.set(name, bench)
      await bench.load(name === 'balancer' ? state : { ...state, lists: lists.lists })
    }
    const many = sent('', to(4, IPIP, { flows: MANY }), 20)
    for (let round = 0; round < rounds; round++) {
      for (const name of Object.keys(states) as (keyof typeof states)[]) {
        const one = name === 'filter' ? { ...many, outcome: PASSED, growth: 0 } : many
        times[name].push((await measure(benches.get(name) as Bench, { ...one, name })).over)
      }
    }
  } finally {
    for (const bench of benches.values()) bench.close()
  }
  return { filter: median(times.filter), balancer: median(times.balancer), both: median(times.both) }
}

/** Our cost as a share of Katran's. */
const ratioOf = ({ over, katran }: Times): number => over / katran

function claimsOf(results: readonly Result[], composed: { filter: number; balancer: number; both: number }): Claim[] {
  const kind = 'target'
  return [
    ...results.flatMap(({ name, over, target }): Claim[] =>
      target === undefined
        ? []
        : [{ kind, what: `${name}: above XDP_DROP`, limit: target, measured: over, unit: 'ns' }],
    ),
    ...results
      .filter((one) => one.ratio !== undefined && !Number.isNaN(one.katran))
      .map(
        (one) =>
          ({
            kind,
            what: `${one.name}: as a share of Katran's`,
            limit: one.ratio as number,
            measured: ratioOf(one),
          }) as const,
      ),
    {
      kind,
      what: `filter with ${PREFIXES.toLocaleString('en')} prefixes and balancer, as a share of the sum of both`,
      limit: 1,
      measured: composed.both / (composed.filter + composed.balancer),
    },
  ]
}

const ns = (value: number): string => value.toFixed(0)

function printRings(rings: readonly RingTime[]): void {
  const rows = rings.map(({ backends, slots, milliseconds }) => [
    `${backends} backends`,
    `${slots}`,
    milliseconds.toFixed(2),
  ])
  console.log(`\n${table(['table of a service', 'slots', 'ms'], rows)}`)
}

/** Measures cases on a separate data plane. */
async function measureOn(
  name: string,
  cases: readonly Case[],
  rounds: number,
  { tracksFlows = true, peers = new Map() }: { readonly tracksFlows?: boolean; readonly peers?: Peers } = {},
): Promise<Result[]> {
  const bench = await Bench.open(name, arrival)
  try {
    await bench.load(services, tracksFlows)
    return await measureAll(bench, cases, rounds, peers)
  } finally {
    bench.close()
  }
}

const rounds = Number(options.rounds)
const peers = await openPeers(options.katran)
const results: Result[] = []
try {
  results.push(...(await measureOn('services', CASES, rounds, { peers })))
} finally {
  closePeers(peers)
}
const untracked = [sent('IPIP, 65,536 flows, without entries', to(4, IPIP, { flows: MANY }), 20)]
results.push(...(await measureOn('table', untracked, rounds, { tracksFlows: false })))
const composed = await compose(rounds)
const peerHead = options.katran === undefined ? [] : ['Katran above it', 'ours/Katran']
const peerCells = (one: Result): string[] => {
  if (options.katran === undefined) return []
  return Number.isNaN(one.katran) ? ['', ''] : [ns(one.katran), ratioText(ratioOf(one))]
}
const rows = results.map((one) => [one.name, ns(one.drop), ns(one.tx), ns(one.over), ...peerCells(one)])
console.log(table(['ns per packet', 'XDP_DROP', 'XDP_TX above it', 'ours above it', ...peerHead], rows))
console.log(
  `\nfilter with ${PREFIXES.toLocaleString('en')} prefixes ${ns(composed.filter)}, balancer with 65,536 flows ` +
    `${ns(composed.balancer)}, both in one pass ${ns(composed.both)}`,
)
const rings = ringTimes()
printRings(rings)
const verifier = await verifierCost()
console.log(
  `\nprograms: ${verifier.instructions} instructions processed at most, loaded in ${ns(verifier.milliseconds)} ms`,
)
const claims: Claim[] = [
  ...claimsOf(results, composed),
  {
    kind: 'budget',
    what: 'instructions processed by the verifier',
    limit: 150_000,
    measured: verifier.instructions,
    unit: 'instructions',
  },
  { kind: 'target', what: 'loading the programs', limit: 500, measured: verifier.milliseconds, unit: 'ms' },
]
conclude('balance', claims, { results, composed, rings, verifier })
