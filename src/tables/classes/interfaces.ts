// Sets of interfaces that scopes name, and their section (struct scoped_interface). A rule refers to a set by number;
// the section says by interface slot which sets the interface belongs to. Its first line has the local ports of
// connections that this host opens, and the anomalies that are looked for (struct receiving).

import {
  ANOMALY_EVERYWHERE,
  ANOMALY_SLOTS,
  type AnomalySettings,
  INTERFACE_SETS,
  INTERFACE_SLOTS,
  LINE_SIZE,
  receivingCodec,
  scopedInterfaceCodec,
} from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import { ANOMALY_NAMES, anomalyTexts, parseAnomaly } from '../../model/anomaly.ts'
import { DEFAULT_POLICY, type Policy } from '../../model/policy.ts'
import type { PortRange } from '../../model/ports.ts'
import { scopesOf } from '../../model/scope.ts'
import type { State } from '../../model/state.ts'
import { corrupt, LINE_WORDS, makeLines, viewOf } from '../lines/lines.ts'

/** Names are free of white space. */
const keyOf = (interfaces: readonly string[]): string => interfaces.join(' ')

/** Numbers of sets of interfaces. */
export class InterfaceSets {
  /** In the order of their numbers. */
  readonly sets: readonly (readonly string[])[]
  readonly #numbers: ReadonlyMap<string, number>

  /** Equal scopes, in any order, give equal numbers. Throws XdpError E216 if there are too many sets. */
  constructor(scopes: Iterable<{ readonly interfaces?: readonly string[] | undefined }>) {
    const named = new Map(
      [...scopes].flatMap(({ interfaces }) => (interfaces ? [[keyOf(interfaces), interfaces]] : [])),
    )
    const sorted = [...named].sort(([a], [b]) => (a < b ? -1 : 1))
    if (sorted.length > INTERFACE_SETS) {
      const message = `entries name ${sorted.length} different sets of interfaces, but at most ${INTERFACE_SETS} fit`
      throw fail('E216', message, 'give entries for similar interfaces equal `interfaces`')
    }
    this.sets = sorted.map(([, interfaces]) => interfaces)
    this.#numbers = new Map(sorted.map(([key], number) => [key, number]))
  }

  numberOf(interfaces: readonly string[]): number {
    return this.#numbers.get(keyOf(interfaces)) as number
  }
}

/** The sets of interfaces of all lists, rate limits and anomalies. Throws XdpError E216 if there are too many. */
export const interfaceSets = ({
  lists,
  rateLimits,
  policy = DEFAULT_POLICY,
}: Pick<State, 'lists' | 'rateLimits'> & Partial<Pick<State, 'policy'>>): InterfaceSets =>
  new InterfaceSets([...scopesOf({ lists, rateLimits }), ...policy.anomalies.map(parseAnomaly)])

function encodeAnomalies(texts: Policy['anomalies'], sets: Pick<InterfaceSets, 'numberOf'>): AnomalySettings {
  const bits = { drop: 0, observe: 0 }
  const interfaces = new Uint8Array(ANOMALY_SLOTS).fill(ANOMALY_EVERYWHERE)
  for (const anomaly of texts.map(parseAnomaly)) {
    const number = ANOMALY_NAMES.indexOf(anomaly.name)
    bits[anomaly.action] |= 1 << number
    if (anomaly.interfaces) interfaces[number] = sets.numberOf(anomaly.interfaces)
  }
  return { ...bits, interfaces }
}

/** The texts of the anomalies that are looked for. */
const decodeAnomalies = (
  { drop, observe, interfaces }: AnomalySettings,
  sets: readonly (readonly string[])[],
): Policy['anomalies'] =>
  anomalyTexts(
    ANOMALY_NAMES.flatMap((name, number) => {
      if ((((drop | observe) >>> number) & 1) === 0) return []
      const set = interfaces[number] === ANOMALY_EVERYWHERE ? undefined : sets[interfaces[number] as number]
      return [{ name, action: (drop >>> number) & 1 ? 'drop' : 'observe', ...(set && { interfaces: set }) } as const]
    }),
  )

/**
 * Encodes the section; empty if nothing names an interface, nothing depends on local ports, and no anomaly is looked for.
 *
 * @param slots by interface name; interfaces without a slot are missing from the host
 */
export function encodeInterfaces(
  numbered: Pick<InterfaceSets, 'sets' | 'numberOf'>,
  slots: ReadonlyMap<string, number>,
  ports: PortRange | undefined,
  anomalies: Policy['anomalies'] = [],
): Uint32Array<ArrayBuffer> {
  const { sets } = numbered
  const names = [...new Set(sets.flat())].sort()
  const missing = names.filter((name) => !slots.has(name))
  const hasFirst = ports !== undefined || anomalies.length > 0
  const words = makeLines(names.length > 0 ? INTERFACE_SLOTS + missing.length : hasFirst ? 1 : 0)
  const view = new DataView(words.buffer)
  const { first: first_port, last: last_port } = ports ?? { first: 0, last: 0 }
  if (hasFirst) receivingCodec.encode({ first_port, last_port, anomalies: encodeAnomalies(anomalies, numbered) }, view)
  for (const name of names) {
    const line = slots.get(name) ?? INTERFACE_SLOTS + missing.indexOf(name)
    const bits = sets.reduce((sum, set, number) => (set.includes(name) ? sum | (1n << BigInt(number)) : sum), 0n)
    scopedInterfaceCodec.encode({ sets: bits, name }, view, line * LINE_SIZE)
  }
  return words
}

/** The section, decoded. */
export interface LiveInterfaces {
  /** By number; sorted names. A number without interfaces has none. */
  readonly sets: readonly (readonly string[])[]
  /** Slots of the interfaces that scopes name; undefined = missing from the host. */
  readonly slots: ReadonlyMap<string, number | undefined>
  readonly localPorts: PortRange | undefined
  readonly anomalies: Policy['anomalies']
}

/** Decodes the section. Throws XdpError E113 if an interface has no name, or two lines. */
export function decodeInterfaces(words: Uint32Array): LiveInterfaces {
  const view = viewOf(words)
  const slots = new Map<string, number | undefined>()
  const sets: string[][] = Array.from({ length: INTERFACE_SETS }, () => [])
  const receiving = words.length > 0 ? receivingCodec.decode(view) : undefined
  for (let line = 1; line < words.length / LINE_WORDS; line++) {
    const { name, sets: bits } = scopedInterfaceCodec.decode(view, line * LINE_SIZE)
    if (bits === 0n) continue
    if (name === '' || slots.has(name)) throw corrupt(`line ${line} of the interfaces of scopes`)
    slots.set(name, line < INTERFACE_SLOTS ? line : undefined)
    for (const [number, set] of sets.entries()) if ((bits >> BigInt(number)) & 1n) set.push(name)
  }
  for (const set of sets) set.sort()
  const { first_port: first = 0, last_port: last = 0 } = receiving ?? {}
  return {
    sets,
    slots,
    localPorts: last === 0 ? undefined : { first, last },
    anomalies: receiving ? decodeAnomalies(receiving.anomalies, sets) : [],
  }
}
