// `syn_protection` in the section of settings: struct syn_header, and behind it struct syn_ports.

import {
  LINE_SIZE,
  SYN_FAMILY,
  SYN_MODE,
  SYN_PORTS_FAMILY,
  SYN_RANGES,
  synHeaderCodec,
  synPortsCodec,
} from '../../abi/generated.ts'
import { parseSyn, synText } from '../../model/syn-protection.ts'
import { corrupt, LINE_WORDS, makeLines, viewOf } from '../lines/lines.ts'

const NANOSECONDS = 1_000_000_000
/** Ranges in the line in front of its family. */
const FIRST = 8

/** The lines of a setting; none if it protects nothing. */
export function synLines(text: string, receiveMax: number): Uint32Array<ArrayBuffer> {
  const protection = parseSyn(text)
  if (protection === undefined) return makeLines(0)
  const { mode, threshold, ports } = protection
  const lines = makeLines(2)
  const view = viewOf(lines)
  const header = {
    cost: BigInt(Math.round(NANOSECONDS / threshold)),
    threshold,
    receive_max: receiveMax,
    mode: mode === 'always' ? SYN_MODE.ALWAYS : SYN_MODE.AUTO,
    ranges: ports.length,
    family: SYN_FAMILY,
  }
  synHeaderCodec.encode(header, view)
  const words = Array.from({ length: SYN_RANGES }, (_, i) => {
    const range = ports[i]
    return range === undefined ? 0 : ((range.first << 16) | range.last) >>> 0
  })
  const ranges = { first: words.slice(0, FIRST), family: SYN_PORTS_FAMILY, more: words.slice(FIRST) }
  synPortsCodec.encode(ranges, view, LINE_SIZE)
  return lines
}

/** Line of a section of settings at which they are; undefined: there are none. */
export function synStart(settings: Uint32Array): number | undefined {
  const view = viewOf(settings)
  for (let line = 0; line < settings.length / LINE_WORDS; line++)
    if (synHeaderCodec.decode(view, line * LINE_SIZE).family === SYN_FAMILY) return line
  return undefined
}

export interface LiveSyn {
  /** As in a policy. */
  readonly text: string
  readonly receiveMax: number | undefined
}

/** Reads them from a section of settings. Throws XdpError E113 if the ports are missing. */
export function decodeSyn(settings: Uint32Array): LiveSyn {
  const start = synStart(settings)
  if (start === undefined) return { text: '', receiveMax: undefined }
  const view = viewOf(settings)
  const { mode, threshold, receive_max, ranges } = synHeaderCodec.decode(view, start * LINE_SIZE)
  if ((start + 2) * LINE_WORDS > settings.length) throw corrupt('syn_protection without its ports')
  const { first, family, more } = synPortsCodec.decode(view, (start + 1) * LINE_SIZE)
  if (family !== SYN_PORTS_FAMILY || ranges < 1 || ranges > SYN_RANGES) throw corrupt('the ports of syn_protection')
  const ports = [...first, ...more].slice(0, ranges).map((word) => ({ first: word >>> 16, last: word & 0xffff }))
  const text = synText({ mode: mode === SYN_MODE.ALWAYS ? 'always' : 'auto', threshold, ports })
  return { text, receiveMax: receive_max }
}
