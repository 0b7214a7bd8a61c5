// Sets of interfaces in scopes, and their section.

import { expect, test } from 'vitest'
import { INTERFACE_SETS, INTERFACE_SLOTS, LINE_SIZE, scopedInterfaceCodec } from '../../../src/abi/generated.ts'
import type { Scope } from '../../../src/model/state.ts'
import { decodeInterfaces, encodeInterfaces, InterfaceSets } from '../../../src/tables/classes/interfaces.ts'
import { viewOf } from '../../../src/tables/lines/lines.ts'
import { ANY } from '../../support/tables.ts'

const on = (...interfaces: string[]): Scope => ({ ...ANY, interfaces })
const setsOf = (...scopes: Scope[]): InterfaceSets => new InterfaceSets(scopes)

test('without interfaces in scopes there is no section', () => {
  expect(encodeInterfaces(setsOf(ANY), new Map([['eth0', 1]]), undefined).length).toBe(0)
  expect(decodeInterfaces(new Uint32Array(0)).slots.size).toBe(0)
})

test('the line of a slot says to which sets its interface belongs; missing interfaces have lines behind', () => {
  const words = encodeInterfaces(
    setsOf(on('eth0'), on('eth0', 'lan'), on('gone')),
    new Map([
      ['eth0', 3],
      ['lan', 5],
      ['other', 7],
    ]),
    undefined,
  )
  const line = (number: number) => scopedInterfaceCodec.decode(viewOf(words), number * LINE_SIZE)
  expect(line(0)).toEqual({ sets: 0n, name: '' })
  expect(line(3)).toEqual({ sets: 0b011n, name: 'eth0' })
  expect(line(5)).toEqual({ sets: 0b010n, name: 'lan' })
  expect(line(7)).toEqual({ sets: 0n, name: '' })
  expect(line(INTERFACE_SLOTS)).toEqual({ sets: 0b100n, name: 'gone' })
  const { sets, slots } = decodeInterfaces(words)
  expect(sets.filter(({ length }) => length > 0)).toEqual([['eth0'], ['eth0', 'lan'], ['gone']])
  expect(slots).toEqual(
    new Map([
      ['eth0', 3],
      ['lan', 5],
      ['gone', undefined],
    ]),
  )
})

test('the first line has local ports, with interfaces and without', () => {
  const ports = { first: 32768, last: 60999 }
  const slots = new Map([['eth0', 3]])
  expect(decodeInterfaces(encodeInterfaces(setsOf(ANY), slots, ports))).toMatchObject({
    localPorts: ports,
    slots: new Map(),
  })
  const both = encodeInterfaces(setsOf(on('eth0')), slots, ports)
  expect(decodeInterfaces(both)).toMatchObject({ localPorts: ports, slots })
  expect(decodeInterfaces(encodeInterfaces(setsOf(on('eth0')), slots, undefined)).localPorts).toBeUndefined()
})

test('a name with a comma is one interface', () => {
  const { sets } = new InterfaceSets([on('a,b'), on('a', 'b')])
  expect(sets).toEqual([['a', 'b'], ['a,b']])
})

test('refuses more sets than there are bits', () => {
  const scopes = Array.from({ length: INTERFACE_SETS + 1 }, (_, i) => on(`eth${i}`))
  expect(() => new InterfaceSets(scopes.slice(1))).not.toThrow()
  expect(() => new InterfaceSets(scopes)).toThrow('65 different sets of interfaces')
})

test.each([
  ['a set without a name', 4, ''],
  ['one name on two lines', 4, 'eth0'],
])('refuses %s', (_, line, name) => {
  const words = encodeInterfaces(setsOf(on('eth0')), new Map([['eth0', 3]]), undefined)
  scopedInterfaceCodec.encode({ sets: 1n, name }, viewOf(words), line * LINE_SIZE)
  expect(() => decodeInterfaces(words)).toThrow(
    expect.objectContaining({ diagnostics: [expect.objectContaining({ code: 'E113' })] }),
  )
})
