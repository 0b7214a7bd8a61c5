// Packets in fields, of which any may be open: to find one that meets some conditions and none of others. A condition is a
// conjunction of tests of single fields, so that a search for what is left of a set of packets narrows one field at a time.

/** Flaws of a packet that the other fields do not show. `cut`: the transport header does not end within the datagram. */
export type Flaw = 'cut' | 'bad_length' | 'ip_options' | 'tiny_fragments'

/** Behind headers of IPv6 that cannot be parsed. */
export const NO_PROTOCOL = -1
/** Of a first fragment that ends in front of its flags. */
export const HIDDEN_FLAGS = 256

/** A packet from a known source. Fields that its protocol does not have mean nothing. */
export interface Sample {
  readonly protocol: number
  readonly ports: readonly [source: number, destination: number]
  readonly tcpFlags: number
  readonly icmp: { readonly type: number; readonly code: number }
  readonly length: number
  readonly ttl: number
  readonly dscp: number
  readonly fragment: 'first' | 'later' | undefined
  readonly vlan: number | undefined
  readonly destination: Uint32Array
  readonly flaw: Flaw | undefined
}

export type Field = keyof Sample

type TestOf<F extends Field> = { readonly field: F; readonly has: (value: Sample[F]) => boolean }

/** A test of one field. `edges`: where it may change, as for `Edges`. */
export type Test = { [F in Field]: TestOf<F> & { readonly edges?: Edges } }[Field]

/** Values from which on tests may say otherwise than below. */
export interface Edges {
  readonly source?: readonly number[]
  readonly destination?: readonly number[]
  readonly code?: readonly number[]
  readonly length?: readonly number[]
  readonly ttl?: readonly number[]
  readonly vlan?: readonly number[]
  readonly addresses?: readonly Uint32Array[]
}

/** All of these must hold; none: every packet meets it. */
export type Condition = readonly Test[]

/** The values that each field may have: every combination is a packet. No field is empty. */
export type Box = { readonly [F in Field]: readonly Sample[F][] }

const has = ({ has }: Test, value: unknown): boolean => (has as (value: unknown) => boolean)(value)

/** Leaves the values with, or without, what a test asks for; undefined: no packet is left. */
function narrow(box: Box, test: Test, wanted: boolean): Box | undefined {
  const values: readonly unknown[] = box[test.field]
  const left = values.filter((value) => has(test, value) === wanted)
  if (left.length === values.length) return box
  return left.length === 0 ? undefined : { ...box, [test.field]: left }
}

/** The packets of a box that meet a condition; undefined: none. */
export function within(box: Box, condition: Condition): Box | undefined {
  let left: Box | undefined = box
  for (const test of condition) {
    if (left === undefined) return undefined
    left = narrow(left, test, true)
  }
  return left
}

/** Tests that a search may still make, shared by its branches. */
interface Effort {
  left: number
}

/** A search of more tests, which take a tenth of a second, gives up. */
const MOST_TESTS = 4_000_000

/** Of a condition the tests that some packets of the box fail; undefined: all packets fail one. */
function openTests(box: Box, condition: Condition, effort: Effort): Test[] | undefined {
  const open: Test[] = []
  for (const test of condition) {
    const values: readonly unknown[] = box[test.field]
    const holds = has(test, values[0])
    const other = values.findIndex((value) => has(test, value) !== holds)
    effort.left -= other < 0 ? values.length : other
    if (other >= 0) open.push(test)
    else if (!holds) return undefined
  }
  return open
}

function search(box: Box, avoided: readonly Condition[], effort: Effort): Box | 'unknown' | undefined {
  const left: (readonly Test[])[] = []
  let least: readonly Test[] | undefined
  for (const condition of avoided) {
    if (effort.left <= 0) return 'unknown'
    const open = openTests(box, condition, effort)
    if (open === undefined) continue
    if (open.length === 0) return undefined
    left.push(open)
    if (least === undefined || open.length < least.length) least = open
  }
  if (least === undefined) return box
  const others = left.filter((one) => one !== least)
  let rest: Box | undefined = box
  for (const test of least) {
    if (rest === undefined) return undefined
    const part = narrow(rest, test, false)
    const found = part && search(part, others, effort)
    if (found !== undefined) return found
    rest = narrow(rest, test, true)
  }
  return undefined
}

const firstOf = (box: Box): Sample =>
  Object.fromEntries(Object.entries(box).map(([field, values]) => [field, (values as readonly unknown[])[0]])) as never

/**
 * A packet of the box that meets none of the conditions: the first value of each field that is left. undefined: there is
 * none; `unknown`: the search is too long.
 */
export function findPacket(box: Box, avoided: readonly Condition[]): Sample | 'unknown' | undefined {
  const found = search(box, avoided, { left: MOST_TESTS })
  return found === undefined || found === 'unknown' ? found : firstOf(found)
}

/** The values 0 to `most` that tests with these edges may tell apart: both ends of each stretch between two edges. */
export function stretches(edges: Iterable<number>, least: number, most: number): number[] {
  const starts = [...new Set([least, ...edges])].filter((edge) => edge >= least && edge <= most).sort((a, b) => a - b)
  return [...new Set(starts.flatMap((start, i) => [start, (starts[i + 1] ?? most + 1) - 1]))]
}
