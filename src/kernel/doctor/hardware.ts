// The findings about the settings of a card that its driver cares about: merging of packets, queues, virtual functions, and
// the processors that receive. Pure.

import type { Merging } from '../../drivers/driver.ts'
import { spreadProblem } from '../../drivers/interrupts.ts'
import { type QueueFacts, queueProblem, unusedQueues } from '../../drivers/queues.ts'
import { driverNamed } from '../../drivers/table.ts'
import type { Check } from '../../report/result.ts'
import type { Card } from './cards.ts'
import { ok, warn } from './check.ts'
import { find, isNative, permitGeneric, severity, type Wanted } from './level.ts'
import type { Surroundings } from './native.ts'

interface Offload {
  /** Last word of the id. */
  readonly id: string
  readonly feature: string
  /** Name of the option of `ethtool -K`. */
  readonly option: string
  readonly words: string
  readonly rule: (card: Card) => Merging | undefined
}

const OFFLOADS: readonly Offload[] = [
  {
    id: 'lro',
    feature: 'large-receive-offload',
    option: 'lro',
    words: 'large receive offload is on',
    rule: ({ hardware }) => driverNamed(hardware.driver)?.lro?.is,
  },
  {
    id: 'gro_hw',
    feature: 'rx-gro-hw',
    option: 'rx-gro-hw',
    words: 'receive offload of the hardware (rx-gro-hw) is on',
    rule: ({ hardware }) => driverNamed(hardware.driver)?.groHw?.is,
  },
]

/** An offload by which the card hands over several packets as one. */
function checkMerging(card: Card, wanted: Wanted, { id: last, feature, option, words, rule }: Offload): Check[] {
  const id = `interface.${card.name}.${last}`
  const state = card.hardware.features.get(feature)
  const reaction = rule(card)
  if (!state?.on || isNative(card) || reaction === 'stops') return []
  const off = `ethtool -K ${card.name} ${option} off`
  const fix = state.fixed ? permitGeneric(card.name, wanted) : off
  if (reaction === 'refuses') {
    const how = state.fixed ? ', and cannot turn it off' : ''
    return [find(severity(wanted), id, `${words}: ${card.hardware.driver} refuses native XDP${how}`, fix)]
  }
  if (reaction === 'goes-on') {
    const message = `${words}: ${card.hardware.driver} goes on to merge packets, and the filter judges and counts several as one`
    return [warn(id, message, fix)]
  }
  if (last !== 'lro') return []
  const message = `${words}: it merges packets before the filter sees them, and most drivers then refuse XDP`
  return state.fixed
    ? [find(severity(wanted), id, `${message}; the driver cannot turn it off`, fix)]
    : [warn(id, message, fix)]
}

const queueFacts = (card: Card, processors: number): QueueFacts => ({
  interface: card.name,
  driver: card.hardware.driver,
  channels: card.hardware.channels,
  txQueues: card.txQueues,
  processors,
})

function checkQueues(card: Card, wanted: Wanted, surroundings: Surroundings): Check[] {
  const id = `interface.${card.name}.queues`
  const problem = queueProblem(queueFacts(card, surroundings.processors.possible))
  if (problem === undefined || isNative(card) || wanted?.[0] === 'generic') return []
  const { refuses, why, fix } = problem
  if (refuses) return [find(severity(wanted), id, why, fix ?? permitGeneric(card.name, wanted))]
  return [surroundings.balances ? warn(id, why, fix) : ok(id, `${why}; only services and SYN cookies transmit`)]
}

function checkVirtualFunctions(card: Card, wanted: Wanted): Check[] {
  if (card.virtualFunctions === 0 || isNative(card) || !driverNamed(card.hardware.driver)?.sriov) return []
  const message = `${card.virtualFunctions} virtual functions are made of it: ${card.hardware.driver} then refuses native XDP`
  const fix = `echo 0 > /sys/bus/pci/devices/${card.hardware.bus}/sriov_numvfs`
  return [find(severity(wanted), `interface.${card.name}.sriov`, message, fix)]
}

/** The processors that share the work of receiving, in any mode. */
function checkSpread(card: Card, { processors }: Surroundings): Check[] {
  if (card.kind !== 'physical') return []
  const { online } = processors
  const id = `interface.${card.name}.spread`
  const unused = unusedQueues(queueFacts(card, online.length))
  if (unused) return [warn(id, unused.why, unused.fix)]
  const problem = spreadProblem(card.interrupts, online)
  return problem ? [warn(id, problem.why, problem.fix)] : []
}

/** The other end of a veth: veth_xdp_flush drops the frames that native XDP sends back if no program runs there. */
function checkPeer(card: Card, wanted: Wanted, { cards, balances, answers }: Surroundings): Check[] {
  if (card.kind !== 'veth' || !(balances || answers) || wanted?.[0] !== 'native') return []
  const peer = card.lower === undefined ? undefined : cards.get(card.lower)
  const id = `interface.${card.name}.peer`
  if (peer && peer.programs.length > 0) return [ok(id, `its peer ${peer.name} has an XDP program`)]
  const who = peer ? `its peer ${peer.name} has none` : 'its peer is in another namespace'
  const message = `frames that native XDP sends through a veth arrive only if the peer has an XDP program, and ${who}`
  return [warn(id, message, 'attach a program that passes every packet to the peer, or use `mode: generic`')]
}

/** All findings about the hardware of an interface. */
export const checkHardware = (card: Card, wanted: Wanted, surroundings: Surroundings): Check[] => [
  ...checkPeer(card, wanted, surroundings),
  ...OFFLOADS.flatMap((offload) => checkMerging(card, wanted, offload)),
  ...checkVirtualFunctions(card, wanted),
  ...checkQueues(card, wanted, surroundings),
  ...checkSpread(card, surroundings),
]
