// Shapes of the answers of tools. A shape takes parsed JSON, and returns the value with its type, without fields that no
// caller reads; or it throws BadAnswer. Pure.

/** An answer of another shape. The message completes a sentence that names the tool and its command. */
export class BadAnswer extends Error {}

/** Reads a value; `at` is its place in the answer, such as `[2].id`. */
export type Shape<T> = (value: unknown, at?: string) => T

type Fields = Readonly<Record<string, Shape<unknown>>>
type Optional<F extends Fields> = {
  [K in keyof F]: undefined extends ReturnType<F[K]> ? K : never
}[keyof F]
type RecordOf<F extends Fields> = { readonly [K in Exclude<keyof F, Optional<F>>]: ReturnType<F[K]> } & {
  readonly [K in Optional<F>]?: ReturnType<F[K]>
}

/** The type that a shape returns. */
export type ShapeOf<S extends Shape<unknown>> = ReturnType<S>

const MOST_SHOWN = 60

/** JSON of a value; it may be nested more deeply than JSON.stringify can follow. */
function textOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return Array.isArray(value) ? '[…]' : '{…}'
  }
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = textOf(value)
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)} …` : text
}

/** Throws BadAnswer. `wanted`: with its article. */
export function bad(at: string | undefined, wanted: string, value: unknown): never {
  throw new BadAnswer(`${at ? `at ${at.replace(/^\./, '')} ` : ''}it has ${shown(value)}, not ${wanted}`)
}

const isWhole = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value)

/** A whole number within bounds, both included: the kernel has no larger ones there. */
export const between =
  (first: number, last: number): Shape<number> =>
  (value, at) =>
    isWhole(value) && value >= first && value <= last
      ? value
      : bad(at, `a whole number from ${first} to ${last}`, value)

/** An unsigned number of 32 bits. */
export const word = between(0, 0xffff_ffff)

/** The id of a program or map: unsigned 32 bits, never 0 (bpf_prog_alloc_id and bpf_map_alloc_id in kernel/bpf). */
export const id = between(1, 0xffff_ffff)

/** The number of an interface: a positive `int` (dev_index_reserve in net/core/dev.c). */
export const ifindex = between(1, 0x7fff_ffff)

/** Unix time in seconds that a Date can represent (ECMA-262). */
const seconds = between(0, 8_640_000_000_000)

/** Kernel memory in bytes: the kernel's half of an address space of 48 bits. */
const memory = between(0, 2 ** 47)

/** A size in bytes, or its digits as text: bpftool prints some so. */
export const size: Shape<number> = (value, at) =>
  memory(typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value, at)

export const text: Shape<string> = (value, at) => (typeof value === 'string' ? value : bad(at, 'a text', value))

export const flag: Shape<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : bad(at, 'true or false', value)

/** A flag that iproute2 prints as null where it is set, and not at all where it is not. */
export const mark: Shape<true | undefined> = (value) => (value === undefined ? undefined : true)

/** A field that may be missing. */
export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value, at) =>
    value === undefined || value === null ? undefined : shape(value, at)

/** A value that no caller reads. */
export const anything: Shape<unknown> = (value) => value

export const list =
  <T>(shape: Shape<T>): Shape<readonly T[]> =>
  (value, at = '') =>
    Array.isArray(value) ? value.map((one, i) => shape(one, `${at}[${i}]`)) : bad(at, 'a list', value)

export const record =
  <F extends Fields>(fields: F): Shape<RecordOf<F>> =>
  (value, at = '') => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return bad(at, 'an object', value)
    const own: Record<string, unknown> = {}
    for (const [name, shape] of Object.entries(fields)) {
      const field = shape(Object.hasOwn(value, name) ? value[name as never] : undefined, `${at}.${name}`)
      if (field !== undefined) own[name] = field
    }
    // The loop has read each field by its shape.
    return own as RecordOf<F>
  }

/** `0x00` to `0xff`: a table is several times faster than parsing, which matters for a dump of 100,000 entries. */
const HEX: ReadonlyMap<unknown, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => [`0x${byte.toString(16).padStart(2, '0')}`, byte]),
)

/** Bytes of a key or value as bpftool prints them, `["0x0a", …]`. */
export const bytes =
  (count: number): Shape<Uint8Array<ArrayBuffer>> =>
  (value, at) => {
    if (!Array.isArray(value) || value.length !== count) return bad(at, `a list of ${count} bytes`, value)
    const found = new Uint8Array(count)
    for (let i = 0; i < count; i++) found[i] = HEX.get(value[i]) ?? bad(`${at ?? ''}[${i}]`, 'a byte', value[i])
    return found
  }

/** The value of an entry of a map as a view, from `map lookup`. */
export const valueView =
  (valueSize: number): Shape<DataView> =>
  (value, at) =>
    new DataView(record({ value: bytes(valueSize) })(value, at).value.buffer)

/** The entries of `map dump` for a map without BTF. */
export const entriesOf = (keySize: number, valueSize: number) =>
  list(record({ key: bytes(keySize), value: bytes(valueSize) }))

/** The answer of `prog run`. */
export const ran = record({ retval: word })

/** The answer of `prog show`. */
export const shownProgram = record({
  id,
  name: optional(text),
  tag: optional(text),
  bytes_memlock: optional(size),
  loaded_at: optional(seconds),
  uid: optional(word),
  jited: optional(flag),
  map_ids: optional(list(id)),
})

/** The answer of `prog show` with the option -f. */
export const pinnedProgram = record({ id, loaded_at: optional(seconds), pinned: optional(list(text)) })

/** Most lines of a policy: 4 GiB, several times those of the longest lists. */
const MOST_LINES = 2 ** 26

/** The answer of `map show` about a policy. */
export const shownPolicy = record({ id, max_entries: between(1, MOST_LINES), bytes_memlock: optional(size) })

/** The answer of `map show`. */
export const shownMap = record({ id, name: optional(text), max_entries: word, bytes_memlock: optional(size) })
