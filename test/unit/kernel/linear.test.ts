// The filter apart from the other programs of its object, for packets in one buffer.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { codeAt, DamagedElf, nameAt, readElf, sectionNames, symbolsOf } from '../../../src/kernel/tools/elf.ts'
import { separateLinear } from '../../../src/kernel/tools/linear.ts'

const object = readFileSync(fileURLToPath(new URL('../../../build/xdp.bpf.o', import.meta.url)))

/** Names of the programs that libbpf finds, by section. */
function programsOf(bytes: Uint8Array): Record<string, string[]> {
  const elf = readElf(bytes)
  const sections = [...sectionNames(elf)].filter(([name, { isCode }]) => isCode && name !== '.text')
  const found = sections.map(([name, section]) => [
    name,
    [...symbolsOf(elf)].filter((at) => codeAt(elf, at) === section).map((at) => nameAt(elf, at)),
  ])
  return Object.fromEntries(found.filter(([, names]) => names?.length))
}

test('one object has the filter alone, not as xdp.frags, and the other all the rest', () => {
  const whole = programsOf(object)
  const [rest, linear] = separateLinear(object, 'xdp_filter').map(programsOf)
  expect(linear).toEqual({ xdp: ['xdp_filter'] })
  expect(rest).toEqual({ ...whole, 'xdp.frags': whole['xdp.frags']?.filter((name) => name !== 'xdp_filter') })
})

test('no other byte changes than those that name a section or make a symbol a function', () => {
  const copies = separateLinear(object, 'xdp_filter')
  for (const copy of copies) {
    const changed = [...copy].filter((byte, i) => byte !== object[i])
    expect(copy.length).toBe(object.length)
    expect(changed.length).toBeLessThan(40)
  }
})

test('a damaged object is refused as such', () => {
  const survives = fc.property(fc.nat({ max: 20_000 }), (length) => {
    expect(() => separateLinear(object.subarray(0, length), 'xdp_filter')).toThrow(DamagedElf)
  })
  fc.assert(survives, { numRuns: 50 })
})
