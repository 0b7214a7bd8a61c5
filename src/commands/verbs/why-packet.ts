// Flags of `xdp why` about header fields → the packet to explain.

import { fail } from '../../diagnostics.ts'
import { DSCP_NAMES, ICMP_TYPES, TCP_FLAG_NAMES } from '../../model/packet-match.ts'
import { TCP } from '../../model/ports.ts'
import type { Query } from '../../pipelines/why.ts'
import type { Arguments } from '../cli/flag.ts'
import type { WHY_FLAGS } from '../cli/flags.ts'

type Options = Arguments<typeof WHY_FLAGS>['options']

export function readNumber(flag: string, text: string | undefined, most: number, least = 0): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,5}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text)
  throw fail('E300', `--${flag} "${text}" is not a number from ${least} to ${most}`)
}

function readFlags(text: string | undefined, protocol: Query['protocol']): number | undefined {
  if (text === undefined) return undefined
  if (protocol !== TCP) throw fail('E300', '--tcp-flags needs protocol tcp', 'add --protocol tcp')
  const names = text === 'none' ? [] : text.toLowerCase().split(',')
  return names.reduce((flags, name) => {
    const bit = TCP_FLAG_NAMES.indexOf(name as (typeof TCP_FLAG_NAMES)[number])
    if (bit >= 0) return flags | (1 << bit)
    throw fail('E300', `--tcp-flags "${name}" is not a flag`, `write some of ${TCP_FLAG_NAMES.join(',')}, or none`)
  }, 0)
}

function readIcmp(
  { 'icmp-type': text, 'icmp-code': code }: Options,
  { source, protocol }: Pick<Query, 'source' | 'protocol'>,
): Query['icmp'] {
  if (text === undefined && code === undefined) return undefined
  const isIcmp = protocol === 'icmp' || protocol === (source.family === 4 ? 1 : 58)
  if (!isIcmp) throw fail('E300', '--icmp-type and --icmp-code need protocol icmp', 'add --protocol icmp')
  if (text === undefined) throw fail('E300', '--icmp-code needs --icmp-type', 'add --icmp-type')
  const known = ICMP_TYPES[text.toLowerCase()]
  const named = source.family === 4 ? known?.v4 : known?.v6
  if (known && named === undefined)
    throw fail('E300', `IPv${source.family} has no ICMP type ${text}`, 'write the number of the type')
  const type = named ?? (readNumber('icmp-type', text, 255) as number)
  return { type, code: readNumber('icmp-code', code, 255) ?? 0 }
}

function readFragment(text: string | undefined): Query['fragment'] {
  if (text === undefined || text === 'first' || text === 'later') return text
  throw fail('E300', `--fragment "${text}" is not a kind of fragment`, 'write first or later')
}

/** The fields of the packet that flags set, besides addresses, protocol and ports. Throws E300. */
export function readFields(
  options: Options,
  packet: Pick<Query, 'source' | 'protocol'>,
): Pick<Query, 'tcpFlags' | 'icmp' | 'length' | 'ttl' | 'dscp' | 'fragment' | 'vlan'> {
  const { dscp } = options
  return {
    tcpFlags: readFlags(options['tcp-flags'], packet.protocol),
    icmp: readIcmp(options, packet),
    length: readNumber('length', options.length, 0xffff, 20),
    ttl: readNumber('ttl', options.ttl, 255),
    dscp: dscp === undefined ? undefined : (DSCP_NAMES[dscp.toLowerCase()] ?? readNumber('dscp', dscp, 63)),
    fragment: readFragment(options.fragment),
    vlan: readNumber('vlan', options.vlan, 4094, 1),
  }
}
