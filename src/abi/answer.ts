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

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)} …` : text
}

/** Throws BadAnswer. `wanted`: with its article. */
export function bad(at: string | undefined, wanted: string, value: unknown): never {
  throw new BadAnswer(`${at ? `at ${at.replace(/^\./, '')} ` : ''}it has ${shown(value)}, not ${wanted}`)
}

const isWhole = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** A whole number from 0. */
export const whole: Shape<number> = (value, at) => (isWhole(value) ? value : bad(at, 'a whole number', value))

/** A whole number, or its digits as text: bpftool prints some sizes so. */
export const size: Shape<number> = (value, at) =>
  typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : whole(value, at)

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
export const ran = record({ retval: whole })

/** The answer of `prog show`. */
export const shownProgram = record({
  id: whole,
  tag: optional(text),
  bytes_memlock: optional(size),
  loaded_at: optional(whole),
  jited: optional(flag),
})

/** The answer of `map show`. */
export const shownMap = record({ max_entries: whole, bytes_memlock: optional(size) })
