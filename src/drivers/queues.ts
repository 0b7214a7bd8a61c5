// Whether the queues of a device suffice for native XDP by the rule of its driver. Pure.

import { driverNamed } from './table.ts'

/** Number of queues; undefined for a kind of queue that the driver does not have. */
export interface Channels {
  readonly rx: number | undefined
  readonly tx: number | undefined
  readonly combined: number | undefined
}

export interface QueueFacts {
  readonly interface: string
  readonly driver: string | undefined
  /** `ethtool -l`; undefined: unknown. */
  readonly channels: { readonly max: Channels; readonly now: Channels } | undefined
  /** Transmit queues of the device as `ip -d link` prints them; 0: unknown. */
  readonly txQueues: number
  /** Processors that the kernel may have. */
  readonly processors: number
}

export interface QueueProblem {
  /** Whether the driver refuses native XDP; else transmitting costs more. */
  readonly refuses: boolean
  readonly why: string
  readonly fix: string | undefined
}

type Judge = (facts: QueueFacts, max: Channels, now: Channels) => QueueProblem | undefined

const refused = (why: string, fix: string | undefined): QueueProblem => ({ refuses: true, why, fix })
const slower = (why: string, fix: string | undefined): QueueProblem => ({ refuses: false, why, fix })
const atLeastOne = (count: number): number => Math.max(1, Math.floor(count))

/** Above as many processors ixgbe has no queue for each, above twice as many it refuses (IXGBE_MAX_XDP_QS). */
const IXGBE_QUEUES = 64

const half: Judge = ({ interface: name, driver }, max, now) => {
  if (max.combined !== undefined && now.combined !== undefined) {
    if (now.combined * 2 <= max.combined) return undefined
    const why = `${now.combined} of ${max.combined} queues are in use: for native XDP ${driver} needs half of them unused`
    return refused(why, `ethtool -L ${name} combined ${atLeastOne(max.combined / 2)}`)
  }
  if (max.tx === undefined || now.tx === undefined || now.rx === undefined) return undefined
  if (now.rx === now.tx && now.tx * 2 <= max.tx) return undefined
  const why = `${now.rx} receive and ${now.tx} of ${max.tx} transmit queues are in use: for native XDP ${driver} needs as many of each, and half of them unused`
  const wanted = atLeastOne(Math.min(now.rx, max.tx / 2))
  return refused(why, `ethtool -L ${name} rx ${wanted} tx ${wanted}`)
}

const combined: Judge = ({ interface: name, driver }, max, now) => {
  if ((now.combined ?? 0) > 0 || ((now.rx ?? 0) === 0 && (now.tx ?? 0) === 0)) return undefined
  const wanted = atLeastOne(Math.min(now.rx ?? 0, max.combined ?? 1))
  const why = `its channels receive or transmit: for native XDP ${driver} needs channels that do both`
  return refused(why, `ethtool -L ${name} rx 0 tx 0 combined ${wanted}`)
}

const sum: Judge = ({ interface: name, driver }, max, now) => {
  if (max.rx === undefined || now.rx === undefined || now.tx === undefined || now.rx + now.tx <= max.rx)
    return undefined
  const why = `${now.rx} receive and ${now.tx} transmit queues are in use: for native XDP ${driver} needs them to be at most ${max.rx} together`
  return refused(why, `ethtool -L ${name} rx ${atLeastOne(max.rx / 2)} tx ${atLeastOne(max.rx / 2)}`)
}

/** The queues that the hypervisor gives a virtual card are the most that it can have. */
const spare: Judge = ({ interface: name, processors }, max, now) => {
  if (max.combined === undefined || now.combined === undefined) return undefined
  if (now.combined + processors <= max.combined) return undefined
  const wanted = max.combined - processors
  const why = `${now.combined} of ${max.combined} queues are in use and the kernel may have ${processors} processors: XDP transmits through shared queues, under a lock`
  if (wanted >= 1) return slower(why, `ethtool -L ${name} combined ${wanted}`)
  return slower(why, `give the card ${2 * processors} queues in the hypervisor, or leave it if XDP transmits little`)
}

/** The two rules that need no `ethtool -l`. */
function ofProcessors(rule: 'double' | 'processors', facts: QueueFacts): QueueProblem | undefined {
  const { driver, txQueues, processors } = facts
  if (rule === 'double') {
    if (txQueues === 0 || txQueues >= 2 * processors) return undefined
    return refused(
      `it has ${txQueues} transmit queues: for native XDP ${driver} needs two for each of ${processors} processors`,
      undefined,
    )
  }
  if (processors > 2 * IXGBE_QUEUES)
    return refused(
      `the kernel may have ${processors} processors: with more than ${2 * IXGBE_QUEUES}, ${driver} refuses native XDP`,
      `boot with nr_cpus=${2 * IXGBE_QUEUES}`,
    )
  if (processors <= IXGBE_QUEUES) return undefined
  return slower(
    `the kernel may have ${processors} processors: above ${IXGBE_QUEUES}, ${driver} shares transmit queues under a lock`,
    undefined,
  )
}

/** Compares the queues of a device with the rule of its driver; undefined: they suffice, or it is unknown. */
export function queueProblem(facts: QueueFacts): QueueProblem | undefined {
  const rule = driverNamed(facts.driver)?.queues?.is
  if (rule === 'double' || rule === 'processors') return ofProcessors(rule, facts)
  if (rule === undefined || rule === 'peer' || facts.channels === undefined) return undefined
  const judges: Readonly<Record<typeof rule, Judge>> = { half, combined, sum, spare }
  return judges[rule](facts, facts.channels.max, facts.channels.now)
}

/**
 * The receive queues that a device could use and does not, as a command; undefined: it uses one for each processor, or
 * has no more.
 */
export function unusedQueues({ interface: name, driver, channels, processors }: QueueFacts): QueueProblem | undefined {
  if (channels === undefined) return undefined
  const { max, now } = channels
  const isCombined = (now.combined ?? 0) > 0
  const [used, most] = isCombined ? [now.combined, max.combined] : [now.rx, max.rx]
  if (used === undefined || most === undefined || used === 0) return undefined
  const rule = driverNamed(driver)?.queues?.is
  const reserved = rule === 'spare' ? Math.min(processors, most - 1) : 0
  const usable = rule === 'half' || rule === 'sum' ? atLeastOne(most / 2) : most - reserved
  const wanted = Math.min(usable, processors)
  if (used >= wanted) return undefined
  const why = `${used} of ${processors} processors receive: the card has ${most} queues and uses ${used}`
  const both = rule === 'half' || rule === 'sum' ? `rx ${wanted} tx ${wanted}` : `rx ${wanted}`
  return slower(why, `ethtool -L ${name} ${isCombined ? `combined ${wanted}` : both}`)
}
