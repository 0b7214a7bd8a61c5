// Compares the shipped object with user space: layouts, names, maps.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import * as abi from '../../src/abi/generated.ts'
import { MAP_TYPES, policyMap } from '../../src/abi/paths.ts'
import { PROGRAMS, SHARED_MAPS } from '../../src/features/features.ts'
import { loadObject } from '../../src/kernel/tools/object.ts'

interface BtfType {
  readonly id: number
  readonly kind: string
  readonly name: string
  readonly size?: number
  readonly type_id?: number
  readonly nr_elems?: number
  readonly members?: readonly { readonly name: string; readonly type_id: number; readonly bits_offset: number }[]
  readonly values?: readonly { readonly name: string; readonly val: number }[]
  readonly vars?: readonly { readonly type_id: number }[]
}

function btf(path: string): readonly BtfType[] {
  const text = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', path], { encoding: 'utf8' })
  return (JSON.parse(text) as { types: readonly BtfType[] }).types
}

const { objects } = await loadObject()
const types = btf(objects[0]?.path as string)
const byId = new Map(types.map((type) => [type.id, type]))
/** Every shared layout; the shipped object contains only those that its functions and maps use. */
const layouts = btf(fileURLToPath(new URL('../../build/abi.bpf.o', import.meta.url)))
const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

interface Codec {
  readonly size: number
  readonly offsets: Readonly<Record<string, number>>
  decode(view: DataView, offset?: number): Readonly<Record<string, unknown>>
  encode(value: unknown, view: DataView, offset?: number): void
}

const codecs = Object.entries(abi as Readonly<Record<string, unknown>>).filter(([name]) =>
  name.endsWith('Codec'),
) as readonly (readonly [string, Codec])[]

test('codecs and the object agree with the layouts of abi.h', () => {
  const known = new Map(codecs)
  const layoutsIn = (from: readonly BtfType[]) =>
    from
      .filter(({ kind, name }) => kind === 'STRUCT' && known.has(`${camel(name)}Codec`))
      .map(({ name, size, members = [] }) => {
        const fields = members.filter((member) => !/^pad\d?$/.test(member.name))
        const offsets = Object.fromEntries(fields.map((field) => [field.name, field.bits_offset / 8]))
        return [`${camel(name)}Codec`, { size, offsets }] as const
      })
  const written = codecs.map(([name, { size, offsets }]) => [name, { size, offsets }] as const)
  expect(Object.fromEntries(layoutsIn(layouts))).toEqual(Object.fromEntries(written))
  expect(Object.fromEntries(written)).toMatchObject(Object.fromEntries(layoutsIn(types)))
  expect(layoutsIn(types).length).toBeGreaterThan(0)
})

/** The last byte of a text stays free for the final NUL. */
function withRoom(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(1)
  const isRecord = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  return isRecord ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withRoom(one)])) : value
}

test.each(codecs)('%s decodes its own output, and writes no other bytes', (_, codec) => {
  const bytes = Uint8Array.from({ length: codec.size + 16 }, (_, i) => 0x41 + (i % 26))
  for (const at of [0, 8]) {
    const value = withRoom(codec.decode(new DataView(bytes.buffer), at))
    const target = new Uint8Array(bytes.length)
    codec.encode(value, new DataView(target.buffer), at)
    expect(codec.decode(new DataView(target.buffer), at)).toEqual(value)
    expect([...target.subarray(0, at), ...target.subarray(at + codec.size)].every((byte) => byte === 0)).toBe(true)
  }
})

/** A map definition of the object, decoded from the BTF of `.maps` as libbpf does. */
function definition(name: string): Record<string, number> {
  const variable = types.find(({ kind, name: found }) => kind === 'VAR' && found === name)
  const struct = byId.get(variable?.type_id ?? 0)
  const fields = (struct?.members ?? []).map((member) => {
    const pointed = byId.get(byId.get(member.type_id)?.type_id ?? 0)
    return [member.name, pointed?.nr_elems ?? sizeOf(pointed)] as const
  })
  return Object.fromEntries(fields)
}

const sizeOf = (type: BtfType | undefined): number => type?.size ?? sizeOf(byId.get(type?.type_id ?? 0))

test.each([...SHARED_MAPS, policyMap(abi.HEADER_LINES)])(
  'map $name: creation arguments match the declaration in the object',
  ({ name, type, keySize, valueSize, entries, flags }) => {
    expect({ map_flags: 0, ...definition(name) }).toEqual({
      type: MAP_TYPES[type],
      key: keySize,
      value: valueSize,
      max_entries: entries,
      map_flags: flags,
    })
  },
)

test('program names equal their pin names, and have at most 15 characters', () => {
  const functions = objects
    .map(({ path }) => path)
    .flatMap(btf)
    .filter(({ kind }) => kind === 'FUNC')
    .map(({ name }) => name)
  expect(functions).toEqual(expect.arrayContaining([...PROGRAMS]))
  for (const name of PROGRAMS) expect(name.length).toBeLessThanOrEqual(15)
})
