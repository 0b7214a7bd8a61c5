// Parts taken out of BPF objects: small ones of either byte order, the ones of this build, and damaged ones.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ALL_PARTS, NO_PARTS } from '../../../src/features/features.ts'
import { DamagedElf, nameAt, neededBy, readElf, readRelocations, symbolsOf } from '../../../src/kernel/tools/elf.ts'
import { prune } from '../../../src/kernel/tools/prune.ts'
import { type Instruction, makeObject, type Source } from '../../support/elf.ts'

const [LOAD, LOAD_WORD, IF_ZERO, GOTO, GOTO_LONG, CALL, SET, EXIT] = [0x18, 0x61, 0x15, 0x05, 0x06, 0x85, 0xb7, 0x95]
const PSEUDO_CALL = 1
const PSEUDO_MAP = 1

/** What PART becomes: the address of a constant, which is loaded and compared. */
const part = (offset: number): readonly Instruction[] => [[LOAD], [0], [LOAD_WORD, 0, 0], [IF_ZERO, 0, 0, offset, 0]]
const call: Instruction = [CALL, 0, PSEUDO_CALL, 0, -1]
const helper: Instruction = [CALL, 0, 0, 0, 5]
const map: readonly Instruction[] = [[LOAD, 1, PSEUDO_MAP], [0]]
const exit: Instruction = [EXIT]

/** One function that calls `extra` with a map, and a helper, if it has the part `extra`; then `base` in any case. */
const ONE: Source = {
  code: [...part(4), ...map, call, helper, call, exit],
  symbols: [
    ...[{ name: '' }, { name: 'part_extra' }, { name: 'a_map' }, { name: 'extra' }, { name: 'base' }],
    { name: 'program', from: 0, instructions: 10 },
  ],
  relocations: [
    [0, 'part_extra'],
    [4, 'a_map'],
    [6, 'extra'],
    [8, 'base'],
  ],
}

const parts = (...wanted: readonly boolean[]): ReadonlyMap<string, boolean> =>
  new Map(wanted.map((has, i) => [['extra', 'second'][i] as string, has]))

interface Content {
  readonly code: readonly Instruction[]
  readonly relocations: readonly (readonly [number, string])[]
}

/** What the first code section of an object holds. */
function contentOf(object: Uint8Array, isLittle: boolean): Content {
  const elf = readElf(object)
  const index = elf.sections.findIndex(({ isCode }) => isCode)
  const section = elf.sections[index] as (typeof elf.sections)[number]
  const relocations = elf.sections.find(({ type, info }) => type === 9 && info === index)
  const code = Array.from({ length: section.size / 8 }, (_, i): Instruction => {
    const at = section.offset + i * 8
    const registers = elf.view.getUint8(at + 1)
    const [low, high] = [registers & 0xf, registers >>> 4]
    const pair = isLittle ? ([low, high] as const) : ([high, low] as const)
    return [elf.view.getUint8(at), ...pair, elf.view.getInt16(at + 2, isLittle), elf.view.getInt32(at + 4, isLittle)]
  })
  return {
    code,
    relocations: readRelocations(elf, relocations as (typeof elf.sections)[number]).map(
      (relocation) => [relocation.place / 8, neededBy(elf, relocation)] as const,
    ),
  }
}

const full = ([code, to = 0, from = 0, offset = 0, constant = 0]: Instruction): Instruction => [
  ...([code, to, from, offset, constant] as const),
]

describe.each([
  ['little-endian', true],
  ['big-endian', false],
] as const)('%s', (_, isLittle) => {
  const pruned = (source: Source, ...wanted: readonly boolean[]): Content =>
    contentOf(prune(makeObject(source, isLittle), parts(...wanted)), isLittle)

  test('a part that is not wanted loses its calls and maps, and keeps every instruction’s place', () => {
    const { code, relocations } = pruned(ONE, false)
    const constant: Instruction[] = [[LOAD], [0], [GOTO], [IF_ZERO, 0, 0, 4]]
    expect(code).toEqual([...constant, [LOAD], [0], [SET], helper, call, exit].map((one) => full(one as Instruction)))
    expect(relocations).toEqual([[8, 'base']])
  })

  test('a wanted part keeps what it has', () => {
    const { code, relocations } = pruned(ONE, true)
    const constant: Instruction[] = [[LOAD, 0, 0, 0, 1], [0], [GOTO], [IF_ZERO, 0, 0, 4]]
    expect(code).toEqual([...constant, ...ONE.code.slice(4)].map(full))
    expect(relocations).toEqual(ONE.relocations.slice(1))
  })

  test('code that is reached without the part too stays whole', () => {
    // A part that is skipped unless r1 is zero, to where the part leads.
    const code: Instruction[] = [[IF_ZERO, 1, 0, 4], ...part(1), call, exit]
    const source: Source = {
      code,
      symbols: [...ONE.symbols.slice(0, 5), { name: 'program', from: 0, instructions: 7 }],
      relocations: [
        [1, 'part_extra'],
        [5, 'extra'],
      ],
    }
    expect(pruned(source, false).relocations).toEqual([[5, 'extra']])
  })

  test('a call without a relocation, which stays within its section, goes as well', () => {
    const source = { ...ONE, relocations: ONE.relocations.filter(([, name]) => name !== 'extra') }
    expect(pruned(source, false).code[6]).toEqual(full([SET]))
  })

  test.each([
    ['goto', [GOTO, 0, 0, 1]],
    ['goto of 32 bits', [GOTO_LONG, 0, 0, 0, 1]],
    ['a loop back', [GOTO, 0, 0, -1]],
  ] as const)('%s is followed', (_name, jump) => {
    const code: Instruction[] = [...part(1), exit, jump, call, exit]
    const source: Source = {
      code,
      symbols: [...ONE.symbols.slice(0, 5), { name: 'program', from: 0, instructions: 8 }],
      relocations: [
        [0, 'part_extra'],
        [6, 'base'],
      ],
    }
    expect(pruned(source, false).relocations).toEqual([])
  })

  test.each([
    [false, false, []],
    [false, true, []],
    [true, false, [[10, 'second']]],
    [true, true, [[8, 'first']]],
  ] as const)('a part in a part: outer %s, inner %s', (outer, inner, left) => {
    // With the inner part `first` is called, without it `second`.
    const code: Instruction[] = [...part(7), ...part(2), call, [GOTO, 0, 0, 1], call, exit]
    const source: Source = {
      code,
      symbols: [
        ...[{ name: '' }, { name: 'part_extra' }, { name: 'part_second' }, { name: 'first' }, { name: 'second' }],
        { name: 'program', from: 0, instructions: 12 },
      ],
      relocations: [
        [0, 'part_extra'],
        [4, 'part_second'],
        [8, 'first'],
        [10, 'second'],
      ],
    }
    expect(pruned(source, outer, inner).relocations).toEqual(left)
  })

  test('the object that is given stays as it is', () => {
    const object = makeObject(ONE, isLittle)
    const before = object.slice()
    prune(object, parts(false))
    expect(object).toEqual(before)
  })

  test.each([
    ['an unknown part', ONE, new Map(), 'has the part extra, which no record in src/features names under parts'],
    [
      'a part that is not asked for as PART does',
      { ...ONE, code: ONE.code.with(3, exit) },
      parts(true),
      'does not ask for its part extra as PART does',
    ],
    [
      'a jump out of the function',
      { ...ONE, code: ONE.code.with(8, [GOTO, 0, 0, 1000]) },
      parts(true),
      'has a function that leads out of itself',
    ],
    [
      'a function that is longer than its section',
      { ...ONE, symbols: ONE.symbols.with(5, { name: 'program', from: 0, instructions: 99 }) },
      parts(true),
      'has a function outside of its section',
    ],
    [
      'a relocation of no symbol',
      { ...ONE, relocations: [...ONE.relocations, [8, 'nothing'] as const] },
      parts(true),
      'has a relocation for a symbol that is not there',
    ],
  ])('%s is refused', (_name, source, wanted, message) => {
    expect(() => prune(makeObject(source, isLittle), wanted)).toThrow(new DamagedElf(message))
  })

  test('an object that is cut off anywhere is refused', () => {
    const object = makeObject(ONE, isLittle)
    for (let length = 0; length < object.length; length++)
      expect(() => prune(object.subarray(0, length), parts(false)), `${length} bytes`).toThrow(DamagedElf)
  })

  test('whatever bytes are damaged, it ends, and with nothing worse than a refusal', () => {
    const object = makeObject(ONE, isLittle)
    const damage = fc.array(fc.tuple(fc.nat(object.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    const survives = fc.property(damage, (changes) => {
      const damaged = object.slice()
      for (const [at, byte] of changes) damaged[at] = byte
      try {
        prune(damaged, parts(false))
      } catch (error) {
        expect(error).toBeInstanceOf(DamagedElf)
      }
    })
    fc.assert(survives, { numRuns: 2000 })
  })
})

test.each([
  ['nothing', Buffer.alloc(0), 'is no ELF file'],
  ['text', Buffer.from('x'.repeat(100)), 'is no ELF file'],
  ['a program of this machine', readFileSync(process.execPath).subarray(0, 4096), 'is no BPF object'],
])('%s is refused as what it is', (_name, bytes, message) => {
  expect(() => prune(bytes, new Map())).toThrow(new DamagedElf(message))
})

describe('the objects of this build', () => {
  const build = (name: string): Buffer =>
    readFileSync(fileURLToPath(new URL(`../../../build/${name}.bpf.o`, import.meta.url)))
  const objects = ['xdp', 'explain'].map((name) => [name, build(name)] as const)

  /** Test packets reach no program but ours. */
  const absent = new Map([['explain', ['chain']]])

  test.each(objects)('%s has the parts of the table', (name, object) => {
    const elf = readElf(object)
    const parts = [...ALL_PARTS.keys()].filter((part) => !absent.get(name)?.includes(part))
    const names = [...symbolsOf(elf)].map((at) => nameAt(elf, at)).filter((one) => one.startsWith('part_'))
    expect(names.sort()).toEqual(parts.map((part) => `part_${part}`).sort())
  })

  /** Names that code of the programs needs. */
  const needed = (object: Uint8Array): ReadonlySet<string> => {
    const elf = readElf(object)
    const all = elf.sections.filter(({ type, info }) => type === 9 && elf.sections[info]?.isCode)
    const names = all.flatMap((section) => readRelocations(elf, section).map((relocation) => neededBy(elf, relocation)))
    return new Set(names)
  }

  test.each(objects)('%s calls the balancer only where it has it', (_name, object) => {
    const without = needed(prune(object, new Map([...ALL_PARTS, ['balancer', false]])))
    const whole = needed(prune(object, ALL_PARTS))
    for (const name of ['balance_flow', 'balance_icmp']) {
      expect(whole).toContain(name)
      expect(without).not.toContain(name)
    }
    for (const names of [without, whole]) expect(names).not.toContain('part_balancer')
    expect(without).toContain('policy')
  })

  test.each(objects)('%s is refused wherever it is cut off', (_name, object) => {
    const size = object.length
    for (const length of [1, 63, 64, 1000, size >> 1, size - 65, size - 1])
      expect(() => prune(object.subarray(0, length), NO_PARTS)).toThrow(DamagedElf)
  })
})
