// `protect`: sources that no change of the policy, and no ban, may cut off.

import { PROTOCOL_NUMBERS, protocolName } from './ports.ts'
import { type AddressRange, formatRange, parseRange } from './text.ts'

/** An element of `protect`. */
export interface ProtectedPrefix {
  readonly prefix: AddressRange
  /** IP protocol number; `icmp` = ICMP or ICMPv6; undefined = every protocol. */
  readonly protocol: number | 'icmp' | undefined
  /** Local port; undefined = every port. */
  readonly port: number | undefined
  /** `file:line`; undefined: it is one of the live policy. */
  readonly at: string | undefined
}

/** `192.0.2.0/25`, `192.0.2.9 icmp`, `2001:db8::1-2001:db8::9 tcp 22`. Texts of equal elements are equal. */
export function protectText({ prefix: { family, start, end }, protocol, port }: ProtectedPrefix): string {
  const parts = [formatRange(family, start, end)]
  if (protocol !== undefined) parts.push(typeof protocol === 'number' ? protocolName(protocol) : protocol)
  if (port !== undefined) parts.push(`${port}`)
  return parts.join(' ')
}

function readProtocol(word: string | undefined): number | 'icmp' | undefined {
  if (word === undefined || word === 'icmp') return word
  return word in PROTOCOL_NUMBERS ? PROTOCOL_NUMBERS[word as keyof typeof PROTOCOL_NUMBERS] : Number(word)
}

/** Parses the text of an element. */
export function parseProtect(text: string): ProtectedPrefix | undefined {
  const [range = '', protocol, port] = text.split(' ')
  const prefix = parseRange(range)
  if (prefix === undefined) return undefined
  return {
    prefix,
    protocol: readProtocol(protocol),
    port: port === undefined ? undefined : Number(port),
    at: undefined,
  }
}

/** The texts of elements, sorted and without repetitions, so that equal sets are equal. */
export const protectTexts = (elements: readonly ProtectedPrefix[]): readonly string[] =>
  [...new Set(elements.map(protectText))].sort()
