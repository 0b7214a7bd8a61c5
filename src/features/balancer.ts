// The balancer: its flow table, counters, ports of source pools and fragments. These maps belong to a generation, because
// their sizes depend on the services. Each is handed on from the previous generation if it fits, else rebuilt; then
// counters and ports are carried over to the new map.

import { ran } from '../abi/answer.ts'
import { type Part, plainRun } from '../abi/command.ts'
import {
  backendCounterCodec,
  FLOWS_A_LINE,
  FRAGMENT_LINES,
  FRAGMENTS_A_LINE,
  flowBudgetCodec,
  flowKeysCodec,
  INTERFACE_SLOTS,
  interfaceStackCodec,
  LINE_SIZE,
  pathMtuCodec,
  SNAT_FIRST_PORT,
  SNAT_PORTS,
  serviceCounterCodec,
} from '../abi/generated.ts'
import { arrayMap, type MapShape, MMAPABLE, perCpuMap } from '../abi/paths.ts'
import { POOL_SLOTS } from '../model/limits.ts'
import type { Slots } from '../model/live.ts'
import type { Fill } from '../report/stats.ts'
import type { Header } from '../tables/layout/layout.ts'
import { balanceSizes } from '../tables/services/balance.ts'
import { BALANCER_METRICS } from './balancer-metrics.ts'
import { type Feature, type GaugeFacts, gauges, type Lowering, liveMap, type NewGeneration } from './feature.ts'
import { newlyOwned } from './filter.ts'
import { carriedRates } from './rates.ts'
import type { Carrying, Step } from './step.ts'

/** Maps of a generation, sized for its services; one entry each without services. */
export function balancerMaps(image: Pick<Header, 'balance'>) {
  const { flowLines, services, backends, pools } = balanceSizes(image)
  const { balance } = image
  return {
    flows: arrayMap('flows', LINE_SIZE, flowLines, MMAPABLE),
    flowKeys: arrayMap('flow_keys', flowKeysCodec.size, 1),
    serviceStats: perCpuMap('service_stats', serviceCounterCodec.size, services),
    backendStats: perCpuMap('backend_stats', backendCounterCodec.size, backends),
    snatPorts: arrayMap('snat_ports', LINE_SIZE, Math.max(1, pools * 2 * SNAT_PORTS), MMAPABLE),
    pathMtus: arrayMap('path_mtus', pathMtuCodec.size, backends, MMAPABLE),
    // The line behind the buckets is the key of their hash.
    fragments: arrayMap('fragments', LINE_SIZE, balance.flags === 0 ? 1 : FRAGMENT_LINES + 1, MMAPABLE),
  } as const satisfies Record<string, MapShape>
}

export type BalancerMap = keyof ReturnType<typeof balancerMaps>

/** Names of these maps, and of their pins beside the policy. */
export const BALANCER_MAPS: Readonly<Record<BalancerMap, string>> = {
  flows: 'flows',
  flowKeys: 'flow_keys',
  serviceStats: 'service_stats',
  backendStats: 'backend_stats',
  snatPorts: 'snat_ports',
  pathMtus: 'path_mtus',
  fragments: 'fragments',
}

const rows = {
  flows:
    'entries of the flow table with a packet in the last five minutes; only with services. A full table replaces the ' +
    'entry that has been idle longest: compare `xdp_service_flow_misses_total` with `xdp_service_flows_total` to see ' +
    'whether that costs flows',
  pools: 'addresses of source pools of full NAT; only if there are any',
  source_ports: 'used ports of these addresses, TCP and UDP',
  fragments:
    'fragmented datagrams whose later fragments find their service; only with services. A fragment without its first ' +
    'one counts under the reason `fragment`',
} as const

const programs = {
  counters: 'counter_read',
  flowCount: 'flow_count',
  portCount: 'port_count',
  fragmentCount: 'fragment_count',
} as const

export const BALANCER = {
  name: 'balancer',
  maps: {
    flowBudget: perCpuMap('flow_budget', flowBudgetCodec.size, 1),
    interfaceStack: arrayMap('interface_stack', interfaceStackCodec.size, INTERFACE_SLOTS),
  },
  ownMaps: {
    names: Object.values(BALANCER_MAPS),
    shapes: (image) => Object.values(balancerMaps(image)),
    fits,
    secret: [BALANCER_MAPS.flowKeys],
  },
  programs,
  parts: { balancer: ({ services }) => services.size > 0 },
  reasons: [
    'balanced',
    'balanced-away',
    'reply',
    'reply-away',
    'reply-routed',
    'echo',
    'too-big',
    'no-backend',
    'no-backend-pass',
    'fragment',
    'oversize',
    'expired',
    'exhausted',
    'rejected',
    'other-host',
    'no-flow',
    'path-mtu',
  ],
  needs: [],
  prepare: (lowering: Lowering) => zeroCounters(lowering, lowering.live.slots, lowering.plan.slots),
  // The previous generation shares the maps that it handed on.
  reverting: (lowering: Lowering) => zeroCounters(lowering, lowering.plan.slots, lowering.live.slots),
  beside: (lowering: NewGeneration): Step[] => {
    const carrying = carryingOf(lowering)
    if (carrying.length === 0) return []
    const { paths, target } = lowering
    const directory = paths.carry(target.generation)
    // Flows must find their ports, and rate limits what has passed, when the new generation takes over.
    const ports = carrying.filter((one) => 'ranges' in one)
    return [
      { kind: 'load-carry', object: target.carryObject, directory, carrying },
      ...(ports.length > 0 ? [{ kind: 'carry', directory, carrying: ports } as const] : []),
    ]
  },
  switched: (lowering: NewGeneration): Step[] => {
    // Only now has the old generation stopped counting; more may have been allocated or used since the first copy.
    const carrying = carryingOf(lowering)
    if (carrying.length === 0) return []
    const directory = lowering.paths.carry(lowering.target.generation)
    return [
      { kind: 'carry', directory, carrying },
      { kind: 'unpin', path: directory },
    ]
  },
  gauges: gauges({
    rows,
    part: ({ paths, generation, programs: pinned }): Part<Counts> => {
      const able = [programs.flowCount, programs.portCount, programs.fragmentCount].filter((name) => pinned.has(name))
      return {
        commands: able.map((name) => plainRun(paths.program(generation, name))),
        finish: (outputs) => new Map(able.map((name, i) => [name, ran(outputs[i]).retval])),
      }
    },
    fill: fillOf,
  }),
  metrics: BALANCER_METRICS,
} as const satisfies Feature

/** Return values of the counting programs, by name. */
type Counts = ReadonlyMap<string, number>

function fillOf(counts: Counts, { generation: { ownMaps }, services, slots }: GaugeFacts): Fill<keyof typeof rows>[] {
  if (services.length === 0) return []
  const flows = counts.get(programs.flowCount)
  const ports = counts.get(programs.portCount)
  const fragments = counts.get(programs.fragmentCount)
  const pools = slots.pools.size
  const lines = ownMaps.get(BALANCER_MAPS.flows)?.entries ?? 0
  const known: (Fill<keyof typeof rows> | undefined)[] = [
    flows === undefined ? undefined : { name: 'flows', used: flows, capacity: FLOWS_A_LINE * lines },
    pools === 0 ? undefined : { name: 'pools', used: pools, capacity: POOL_SLOTS },
    pools === 0 || ports === undefined
      ? undefined
      : // Every address has as many ports for TCP as for UDP.
        { name: 'source_ports', used: ports, capacity: pools * 2 * (SNAT_PORTS - SNAT_FIRST_PORT) },
    fragments === undefined
      ? undefined
      : { name: 'fragments', used: fragments, capacity: FRAGMENT_LINES * FRAGMENTS_A_LINE },
  ]
  return known.filter((row) => row !== undefined)
}

/** A larger map will do, except for flows, whose places depend on the number of lines, and without services. */
function fits({ name, entries }: MapShape, existing: number): boolean {
  return name === BALANCER_MAPS.flows || entries === 1 ? existing === entries : existing >= entries
}

/** Slots that keep their owner. */
function kept(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number[] {
  const slots: number[] = []
  for (const [name, slot] of after) if (before.get(name) === slot) slots.push(slot)
  return slots
}

const poolLines = ({ pools }: Slots): number => (Math.max(...pools.values()) + 1) * 2 * SNAT_PORTS

/** Content to carry over to maps that change their size. */
export function carryingOf(lowering: NewGeneration): Carrying[] {
  const { paths, plan, live, target } = lowering
  const { slots } = plan
  const shapes = balancerMaps(target.image)
  const ofServices = (Object.keys(shapes) as BalancerMap[]).flatMap((map): Carrying[] => {
    const shape: MapShape = shapes[map]
    const before = liveMap(paths, live, shape.name)
    // A map of one entry belongs to a generation without services.
    if (before === undefined || fits(shape, before.entries) || before.entries === 1 || shape.entries === 1) return []
    const both = { from: before.pin, to: paths.ownMap(target.generation, shape) }
    if (map === 'serviceStats') return [{ map, ...both, slots: kept(live.slots.services, slots.services) }]
    if (map === 'backendStats') return [{ map, ...both, slots: kept(live.slots.backends, slots.backends) }]
    if (map === 'snatPorts' && slots.pools.size > 0)
      return [
        { map, ...both, ranges: [{ first: 0, count: Math.min(before.entries, shape.entries, poolLines(slots)) }] },
      ]
    return []
  })
  return [...ofServices, ...carriedRates(lowering)]
}

type CounterSlots = Pick<Slots, 'services' | 'backends'>

/** Zeroes the counters of slots with a new owner, in maps that are handed on. */
function zeroCounters({ paths, live, target }: Lowering, from: CounterSlots, to: CounterSlots): Step[] {
  if (!target.image) return []
  const { serviceStats, backendStats } = balancerMaps(target.image)
  const zero = (shape: MapShape, fresh: readonly number[]): Step[] => {
    const before = liveMap(paths, live, shape.name)
    if (before === undefined || !fits(shape, before.entries) || shape.entries === 1) return []
    const map = paths.ownMap(target.generation, shape)
    return fresh.map((slot) => ({ kind: 'zero-counter', map, slot, size: shape.valueSize }))
  }
  return [
    ...zero(serviceStats, newlyOwned(from.services, to.services)),
    ...zero(backendStats, newlyOwned(from.backends, to.backends)),
  ]
}
