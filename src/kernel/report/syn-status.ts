// The protection of ports in `xdp status` and `xdp stats`. Without one it costs nothing.

import { bytes, list, record, valueView, word } from '../../abi/answer.ts'
import { bpftool, keyBytes } from '../../abi/command.ts'
import { synCounterCodec, synStateCodec } from '../../abi/generated.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { FILTER } from '../../features/filter.ts'
import { SYN } from '../../features/syn.ts'
import { formatPorts } from '../../model/ports.ts'
import { parseSyn } from '../../model/syn-protection.ts'
import type { SynStatus } from '../../report/result.ts'
import { decodeSyn } from '../../tables/image/syn.ts'
import { readHeader } from '../../tables/layout/layout.ts'
import { askBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { readPart } from '../tools/transfer.ts'

/** The values of one entry on all CPUs, from `map lookup`. */
const perCpu = record({ values: list(record({ cpu: word, value: bytes(synCounterCodec.size) })) })

const lookup = (map: string) => bpftool('map', 'lookup', 'pinned', map, 'key', ...keyBytes(0))

/** The status of a setting of a policy; undefined: it protects nothing. Throws as askBatch. */
export async function synStatus(paths: Paths, text: string): Promise<SynStatus | undefined> {
  const protection = parseSyn(text)
  if (protection === undefined) return undefined
  const { mode, threshold, ports } = protection
  const [[state], [counted]] = await Promise.all([
    askBatch(valueView(synStateCodec.size), [lookup(paths.sharedMap(SYN.maps.state))]),
    askBatch(perCpu, [lookup(paths.sharedMap(SYN.maps.stats))]),
  ])
  const { answering = 0n, times = 0n } = state ? synStateCodec.decode(state) : {}
  const counters = (counted?.values ?? []).map(({ value }) => synCounterCodec.decode(new DataView(value.buffer)))
  const sum = (name: keyof (typeof counters)[number]): number =>
    counters.reduce((total, counter) => total + Number(counter[name]), 0)
  return {
    mode,
    threshold,
    ports: ports.map(formatPorts).join(','),
    // Both clocks are CLOCK_MONOTONIC.
    answering: mode === 'always' || answering > process.hrtime.bigint(),
    floods: Number(times),
    syns: sum('opened'),
    answered: sum('answered'),
    left: sum('left'),
    completed: sum('completed'),
    invalid: sum('invalid'),
  }
}

/** The protection of the live generation, from its tables. Throws XdpError E113 if these are damaged. */
export async function readSyn(
  paths: Paths,
  generation: Generation | undefined,
  { missing }: Instance,
): Promise<SynStatus | undefined> {
  const header = generation?.meta && generation.header ? readHeader(generation.header) : undefined
  if (!generation || !header || header.table6.syn === 0 || missing.length > 0) return undefined
  const { SETTINGS } = header.directory
  const [content] = await withExchange((files) =>
    runParts(readPart(`${files}/settings`, paths.program(generation.number, FILTER.programs.read), [SETTINGS])),
  )
  const words = new Uint32Array(content.buffer, content.byteOffset, content.byteLength >>> 2)
  return synStatus(paths, decodeSyn(words).text)
}
