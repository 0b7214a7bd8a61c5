// Batches of test packets: as many answers as packets, each that of a run of its own.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Arriving } from '../../src/abi/batch.ts'
import { packetFor } from '../../src/abi/frame.ts'
import { ANYWHERE, ANYWHERE_BARE, factsFor, type TestPacket } from '../../src/abi/packet.ts'
import { explainMany, type Judge, modelJudge, programJudge } from '../../src/kernel/live/answers.ts'
import { REASON_NAMES } from '../../src/kernel/live/counters.ts'
import { cutsAmong } from '../../src/kernel/live/cuts.ts'
import { EMPTY_STATE, type State } from '../../src/model/state.ts'
import { judge } from '../../src/semantics/judge.ts'
import { DataPlane } from '../support/bpf.ts'
import { asked, LINKS, randomHost } from '../support/contacts.ts'
import { SEED, usually } from '../support/depth.ts'
import { isStray } from '../support/model.ts'
import { randomFrom, randomState } from '../support/random.ts'
import { slotsFor } from '../support/slots.ts'

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

const random = randomFrom(SEED)

const randomPacket = (): TestPacket => {
  const family = random.chance(0.5) ? 4 : 6
  const words = Uint32Array.from({ length: family === 4 ? 1 : 4 }, () => random.below(2 ** 32))
  const protocol = random.pick([6, 17, 'icmp'] as const)
  const ports = protocol === 'icmp' ? {} : { sourcePort: random.below(65536), destinationPort: random.below(65536) }
  // Of this host, whatever it forwards.
  const destination = { family, words: family === 4 ? Uint32Array.of(0x7f000001) : Uint32Array.of(0, 0, 0, 1) } as const
  return { source: { family, words }, destination, protocol, ...ports, isWithin: random.chance(0.5) }
}

test(`a batch answers like single runs and the model, seed ${SEED}`, async () => {
  const packets = Array.from({ length: 2000 }, (): Arriving => {
    return { packet: randomPacket(), arrival: random.chance(0.2) ? ANYWHERE_BARE : ANYWHERE }
  })
  // No packet has a socket.
  const reasonsOf = (state: State) =>
    packets.map(({ packet }) => judge(state, factsFor(packet), { socketless: isStray(packetFor(packet)) }).reason)
  // Some policies have one answer for everything.
  let state = randomState(random)
  while (new Set(reasonsOf(state)).size === 1) state = randomState(random)
  await plane.loadState(state)
  const program = plane.program('explain')
  const together = await explainMany(program, packets)
  const some = packets.slice(0, 50)
  const singly = await explainMany(program, some, () => true)
  expect(together.slice(0, 50)).toEqual(singly)
  expect(together.map(({ reason }) => REASON_NAMES[reason])).toEqual(reasonsOf(state))
})

/** Whether an entry matches packets without a socket: live connections have one, but those of this test do not. */
const asksForSockets = ({ lists }: State): boolean =>
  [...lists.values()].some(({ sets }) => sets.some(({ scope }) => scope.socket !== undefined))

test(`a program and the model cut the same contacts, seed ${SEED}`, async () => {
  let cut = 0
  for (let round = 0; round < usually(4, { thoroughly: 100 }) || cut === 0; round++) {
    // One run of the program for many contacts: its grace periods take most of the time.
    const host = randomHost(random, 300)
    let state = randomState(random)
    while (asksForSockets(state)) state = randomState(random)
    await plane.loadState(state)
    const slots = slotsFor(state)
    // The tests open no sockets.
    const socketless =
      (judge: Judge): Judge =>
      (arrivals) =>
        judge(arrivals.map((arrival) => ({ ...arrival, hasSocket: false })))
    const judges = [programJudge(plane.program('explain'), state, slots), socketless(modelJudge(state))]
    const [byProgram, byModel] = await Promise.all(
      judges.map((judge) =>
        cutsAmong(
          { contacts: host.contacts, connections: 0, omitted: 0 },
          {
            links: new Map(LINKS.map((one) => [one.name, one])),
            witnesses: [],
            before: { state: EMPTY_STATE, slots, judge },
            after: { state, slots, judge },
          },
          asked(host),
        ),
      ),
    )
    expect(byProgram).toEqual(byModel)
    cut += byModel?.cut.length ?? 0
  }
})
