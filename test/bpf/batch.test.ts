// Batches of test packets: as many answers as packets, each that of a run of its own.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Arriving } from '../../src/abi/batch.ts'
import { ANYWHERE, ANYWHERE_BARE, factsFor, packetFor, type TestPacket } from '../../src/abi/packet.ts'
import { explainMany } from '../../src/kernel/live/answers.ts'
import { REASON_NAMES } from '../../src/kernel/live/counters.ts'
import type { State } from '../../src/model/state.ts'
import { judge } from '../../src/semantics/judge.ts'
import { DataPlane } from '../support/bpf.ts'
import { isStray } from '../support/model.ts'
import { randomFrom, randomState } from '../support/random.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 0x100000000)

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

const random = randomFrom(seed)

const randomPacket = (): TestPacket => {
  const family = random.chance(0.5) ? 4 : 6
  const words = Uint32Array.from({ length: family === 4 ? 1 : 4 }, () => random.below(2 ** 32))
  const protocol = random.pick([6, 17, 'icmp'] as const)
  const ports = protocol === 'icmp' ? {} : { sourcePort: random.below(65536), destinationPort: random.below(65536) }
  // Of this host, whatever it forwards.
  const destination = { family, words: family === 4 ? Uint32Array.of(0x7f000001) : Uint32Array.of(0, 0, 0, 1) } as const
  return { source: { family, words }, destination, protocol, ...ports, isWithin: random.chance(0.5) }
}

test(`a batch answers like single runs and the model, seed ${seed}`, async () => {
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
