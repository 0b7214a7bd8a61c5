// Compares the kernel's reader of the address tables with the model, and tests the bulk programs.

import { readFileSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anything } from '../../src/abi/answer.ts'
import { LINE_SIZE, TRANSFER_EXTENTS, TRANSFER_LINES, transferCodec } from '../../src/abi/generated.ts'
import { askBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import type { Family } from '../../src/model/address.ts'
import type { State } from '../../src/model/state.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import { imageBytes } from '../../src/tables/layout/layout.ts'
import { SEED } from '../support/depth.ts'
import { readLines } from '../support/lines.ts'
import { loadPolicy } from '../support/policy.ts'
import {
  ALL4,
  ALL6,
  ANY,
  addresses,
  arbitraryState,
  type BigRange,
  edges,
  ImageReader,
  listOf,
  modelParts,
  prefix,
  slotsOf,
  stateOf,
} from '../support/tables.ts'

const META = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }
const compile = (state: State): Uint8Array => imageBytes(compileImage({ state, slots: slotsOf(state), meta: META }))
const ABORTED = 0
const PASS = 2

/** Compares the kernel's answers with the model's. */
async function expectModel(state: State, extra: (family: Family) => readonly bigint[] = () => []): Promise<void> {
  const image = compile(state)
  const policy = await loadPolicy(image)
  try {
    const reader = new ImageReader(image)
    const known = new Map<number, string>()
    const partsOf = (number: number): string => {
      const parts = known.get(number) ?? reader.parts(number).join()
      known.set(number, parts)
      return parts
    }
    for (const family of [4, 6] as const) {
      const asked = [...edges(state, family), ...extra(family)]
      const classes = await policy.lookup(family, asked)
      const wrong = asked.filter(
        (address, i) => partsOf(classes[i] as number) !== modelParts(state, family, address).join(),
      )
      expect(wrong.map((address) => `IPv${family} ${address.toString(16)}`)).toEqual([])
    }
  } finally {
    policy.close()
  }
}

/** A generator of numbers below `limit` that a seed reproduces. */
function random(seed: number): (limit: bigint) => bigint {
  let state = BigInt(seed) + 1n
  const next = (): bigint => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
    return state >> 32n
  }
  return (limit) => ((next() << 96n) | (next() << 64n) | (next() << 32n) | next()) % limit
}

test('no lists: no address is listed', async () => {
  await expectModel(stateOf([]))
})

test('classifies full ranges, edges of the space, nested and touching prefixes', async () => {
  const v6 = 0x20010db8n << 96n
  await expectModel(
    stateOf([
      listOf('blocklist', 'all', [[ANY, addresses([[0n, ALL4]], [[0n, ALL6]])]]),
      listOf('blocklist', 'edges', [
        [
          ANY,
          addresses(
            [
              [0n, 0n],
              [ALL4, ALL4],
              [1n << 31n, 1n << 31n],
            ],
            [
              [0n, 0n],
              [ALL6, ALL6],
              [1n << 127n, 1n << 127n],
            ],
          ),
        ],
      ]),
      listOf('allowlist', 'nested', [
        [
          ANY,
          addresses(
            [8, 12, 16, 17, 24, 31, 32].map((length) => prefix(4, 0x0a0a0a0an, length)),
            [3, 19, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128].map((length) => prefix(6, v6 + 77n, length)),
          ),
        ],
      ]),
    ]),
  )
})

test('random states: classifies every address at, before and after every edge', async () => {
  for (const [i, state] of fc.sample(arbitraryState, { numRuns: 12, seed: SEED }).entries()) {
    await expectModel(state).catch((error: unknown) => {
      throw new Error(`seed ${SEED}, state ${i}`, { cause: error })
    })
  }
})

test('classifies addresses around every edge of 200,000 overlapping hosts and prefixes of both families', async () => {
  const below = random(SEED)
  const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
  const host4 = (): BigRange => prefix(4, below(1n << 32n), 32)
  const net4 = (): BigRange => prefix(4, below(1n << 32n), 15 + Number(below(17n)))
  // From a few hundred allocations, so that prefixes share their first 32, 48 and 64 bits.
  const base6 = (): bigint =>
    (0x2a00n << 112n) | (below(300n) << 96n) | (below(40n) << 80n) | (below(9n) << 64n) | below(1n << 64n)
  const net6 = (): BigRange =>
    prefix(6, base6(), [128, 128, 128, 64, 64, 48, 56, 60, 33, 32, 127, 72][Number(below(12n))] as number)
  const state = stateOf([
    listOf('blocklist', 'hosts', [[ANY, addresses(many(100_000, host4), many(25_000, net6))]]),
    listOf('blocklist', 'nets', [[ANY, addresses(many(40_000, net4), many(20_000, net6))]]),
    listOf('allowlist', 'few', [
      [{ ...ANY, protocol: 17 }, addresses([...many(9000, host4), ...many(1000, net4)], many(5000, net6))],
    ]),
  ])
  await expectModel(state, (family) => many(20_000, family === 4 ? () => below(1n << 32n) : base6)).catch(
    (error: unknown) => {
      throw new Error(`seed ${SEED}`, { cause: error })
    },
  )
})

test('table_read returns the lines that table_write stored', async () => {
  const image = new Uint8Array((TRANSFER_LINES * 2 + 9) * LINE_SIZE)
  for (let i = 0; i < image.length; i++) image[i] = (i * 7 + (i >>> 8)) & 0xff
  const policy = await loadPolicy(image)
  try {
    const read = await readLines(policy.program('table_read'), image.length / LINE_SIZE)
    expect(Buffer.from(read).equals(image)).toBe(true)
  } finally {
    policy.close()
  }
})

test('the bulk programs copy complete extents, and fail on an incomplete one', async () => {
  const lines = 8
  const policy = await loadPolicy(Uint8Array.from({ length: lines * LINE_SIZE }, (_, i) => 1 + (i >>> 6)))
  const run = async (program: string, count: number, extents: readonly (readonly [number, number])[], room: number) =>
    withExchange(async (directory) => {
      const data = new Uint8Array((1 + room) * LINE_SIZE)
      const padded = Array.from({ length: TRANSFER_EXTENTS }, (_, i) => extents[i] ?? ([0, 0] as const))
      transferCodec.encode(
        { count, result: 0, extents: padded.map(([first, size]) => ({ first, lines: size })) },
        new DataView(data.buffer),
      )
      writeFileSync(`${directory}/in`, data)
      const io = ['data_in', `${directory}/in`, 'data_out', `${directory}/out`, 'data_size_out', String(data.length)]
      const { retval } = (await askBpftool(anything, 'prog', 'run', 'pinned', policy.program(program), ...io)) as {
        retval: number
      }
      const answer = readFileSync(`${directory}/out`)
      return {
        retval,
        copied: answer.readUInt32LE(4),
        firsts: Array.from({ length: room }, (_, i) => answer[(1 + i) * 64]),
      }
    })
  try {
    expect(
      await run(
        'table_read',
        3,
        [
          [6, 2],
          [1, 1],
          [0, 1],
        ],
        4,
      ),
    ).toEqual({ retval: PASS, copied: 4, firsts: [7, 8, 2, 1] })
    expect(await run('table_read', 1, [[7, 2]], 4)).toMatchObject({ retval: ABORTED, copied: 1 })
    expect(await run('table_read', 1, [[0, 5]], 4)).toMatchObject({ retval: ABORTED, copied: 4 })
    expect(await run('table_read', 1, [[0, 2 ** 32 - 1]], 4)).toMatchObject({ retval: ABORTED, copied: 0 })
    expect(await run('table_read', TRANSFER_EXTENTS + 1, [], 4)).toMatchObject({ retval: ABORTED })
    expect(await run('table_write', 1, [[7, 2]], 2)).toMatchObject({ retval: ABORTED })
    expect(await run('table_write', 1, [[0, 3]], 2)).toMatchObject({ retval: ABORTED })
    expect(await run('table_write', 1, [[3, 1]], 1)).toMatchObject({ retval: PASS })
    expect(await run('table_read', 1, [[0, 8]], 8)).toMatchObject({ firsts: [0, 0, 3, 0, 5, 6, 7, 0] })
  } finally {
    policy.close()
  }
})
