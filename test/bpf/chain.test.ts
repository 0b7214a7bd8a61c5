// A program behind ours: exactly the packets that pass go on to it, of its own interface alone.

import { mkdtempSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ANYWHERE } from '../../src/abi/packet.ts'
import { ALL_PARTS, partsFor } from '../../src/features/features.ts'
import { runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { verdictOf } from '../../src/report/reason.ts'
import type { Count } from '../../src/report/result.ts'
import { DataPlane, imageOf } from '../support/bpf.ts'
import { sample } from '../support/depth.ts'
import { buildObject } from '../support/objects.ts'
import { DECIDING } from './cases/deciding.ts'
import { PARSING } from './cases/parsing.ts'

const [SLOT, OTHER_SLOT] = [5, 6]

let plane: DataPlane
let directory: string
const pins = `/sys/fs/bpf/xdp-test-chain-${process.pid}`

beforeAll(async () => {
  plane = await DataPlane.open()
  directory = mkdtempSync('/dev/shm/xdp-test-chain-')
  // The filter gives its verdict to no packet without services.
  const body = 'SEC("xdp.frags") int theirs(struct xdp_md *ctx) { return XDP_REDIRECT; }'
  await runBpftool('prog', 'loadall', buildObject(directory, 'theirs', body), pins)
})
afterAll(() => {
  plane.close()
  rmSync(pins, { recursive: true, force: true })
  rmSync(directory, { recursive: true, force: true })
})

describe.each(sample([...PARSING, ...DECIDING], 3))('$name', ({ state, cases }) => {
  test('passes are counted as such and end in the other program, and nothing else does', async () => {
    await plane.load(imageOf(state), new Map([...partsFor(state), ['chain', true]]))
    await plane.chain(SLOT, `${pins}/theirs`)
    const frames = cases.map(({ frame }) => frame)
    const own = cases.map(({ name, reason }) => ({ name, verdict: verdictOf(reason) }))
    const named = (found: readonly { readonly verdict: string }[]) =>
      found.map(({ verdict }, i) => ({ name: cases[i]?.name, verdict }))
    await plane.reset(SLOT, [])
    const chained = own.map((one) => (one.verdict === 'pass' ? { ...one, verdict: 'redirect' } : one))
    expect(named(await plane.send(SLOT, frames))).toEqual(chained)
    const counts = Object.entries(await plane.reasons(SLOT)) as [(typeof cases)[number]['reason'], Count][]
    const passes = counts.filter(([reason]) => verdictOf(reason) === 'pass')
    expect(passes.reduce((sum, [, { packets }]) => sum + packets, 0)).toBe(
      own.filter(({ verdict }) => verdict === 'pass').length,
    )
    // Another interface, and test packets that stand for the first.
    expect(named(await plane.send(OTHER_SLOT, frames))).toEqual(own)
    const arrival = { ...ANYWHERE, slot: SLOT }
    const runs = frames.map((frame) => ({ frame, arrival }))
    expect(named(await plane.run(runs, 'filter'))).toEqual(own)
    expect(named(await plane.run(runs))).toEqual(own)
  })
})

test('a filter with every part hands packets on too', async () => {
  const [first] = DECIDING
  if (!first) throw new Error('no cases')
  await plane.load(imageOf(first.state), ALL_PARTS)
  await plane.chain(SLOT, `${pins}/theirs`)
  const passing = first.cases.find(({ reason }) => verdictOf(reason) === 'pass')
  expect(await plane.send(SLOT, [passing?.frame as Uint8Array])).toMatchObject([{ verdict: 'redirect' }])
})
