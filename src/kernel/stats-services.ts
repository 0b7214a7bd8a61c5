// Services for `xdp stats`: one bpftool process for their records, and one for their counters and health. Where there
// are none it costs nothing.

import type { Paths } from '../abi/paths.ts'
import type { ServiceStatus } from '../model/result.ts'
import { hasServices } from '../tables/image.ts'
import { readHeader } from '../tables/layout.ts'
import { LINE_WORDS } from '../tables/lines.ts'
import { recordedServices, SERVICE_SECTIONS } from '../tables/recognize.ts'
import { runParts } from './bpftool.ts'
import { withExchange } from './exchange.ts'
import type { Generation, Instance } from './instance.ts'
import { readServiceStatus } from './service-status.ts'
import { monotonicSeconds } from './surroundings.ts'
import { readPart } from './transfer.ts'

/** The services of the live generation as its tables record them. Throws XdpError E113 where these are damaged. */
export async function readServices(
  paths: Paths,
  generation: Generation | undefined,
  { missing }: Instance,
): Promise<readonly ServiceStatus[]> {
  const header = generation?.meta && generation.header ? readHeader(generation.header) : undefined
  if (!generation || !header || !hasServices(header) || missing.length > 0) return []
  const { number } = generation
  const places = SERVICE_SECTIONS.map((name) => header.directory[name])
  const [bytes] = await withExchange((files) =>
    runParts(readPart(`${files}/services`, paths.program(number, 'read'), places)),
  )
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  let at = 0
  const cut = (lines: number): Uint32Array => {
    at += lines * LINE_WORDS
    return words.subarray(at - lines * LINE_WORDS, at)
  }
  const sections = Object.fromEntries(SERVICE_SECTIONS.map((name) => [name, cut(header.directory[name].lines)]))
  const told = recordedServices(header, sections as Parameters<typeof recordedServices>[1])
  const slots = { interfaces: new Map(), lists: new Map(), ...told.slots }
  return readServiceStatus(paths, { ...told, slots, generation: number, bootSeconds: monotonicSeconds() })
}
