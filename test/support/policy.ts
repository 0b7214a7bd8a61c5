// A policy map with an image, and a test object's programs loaded over it: in a private pin directory, removed by
// close().

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../../src/abi/command.ts'
import { LINE_SIZE } from '../../src/abi/generated.ts'
import { policyMap } from '../../src/abi/paths.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import type { Family } from '../../src/model/address.ts'
import { writeLines } from './lines.ts'

export const LOOKUP_OBJECT = fileURLToPath(new URL('../../build/test/lookup.bpf.o', import.meta.url))
export const SHIPPED_OBJECT = fileURLToPath(new URL('../../build/xdp.bpf.o', import.meta.url))
/** Queries in one run of the `lookup` program. */
const BATCH = 4000
const PASS = 2

export interface LoadedPolicy {
  /** Pin of a program of the object. */
  program(name: string): string
  /** Pin of the policy map. */
  readonly policy: string
  /** Classes of addresses, read by the `lookup` program. */
  lookup(family: Family, addresses: readonly bigint[]): Promise<number[]>
  close(): void
}

let loaded = 0

/**
 * Creates a map for the image, loads the object over it and writes the image by its `table_write`. `previous`: the map
 * that the object's `table_copy` reads.
 */
export async function loadPolicy(
  image: Uint8Array,
  object = LOOKUP_OBJECT,
  previous?: LoadedPolicy,
): Promise<LoadedPolicy> {
  const directory = `/sys/fs/bpf/xdp-test-${process.pid}-${++loaded}`
  mkdirSync(directory)
  const close = (): void => rmSync(directory, { recursive: true })
  try {
    const { name, type, valueSize, entries, flags } = policyMap(image.length / LINE_SIZE)
    const pin = `${directory}/policy`
    const shape = ['key', 4, 'value', valueSize, 'entries', entries, 'name', name, 'flags', flags].map(String)
    await runBpftool('map', 'create', pin, 'type', type, ...shape)
    const maps = { policy: pin, ...(previous ? { previous: previous.policy } : {}) }
    const reuse = Object.entries(maps).flatMap(([map, at]) => ['map', 'name', map, 'pinned', at])
    await runBpftool('prog', 'loadall', object, `${directory}/programs`, ...reuse)
    const program = (wanted: string): string => `${directory}/programs/${wanted}`
    await writeLines(program('table_write'), image)
    return { program, policy: pin, close, lookup: (family, addresses) => lookup(program('lookup'), family, addresses) }
  } catch (error) {
    close()
    throw error
  }
}

function encodeQueries(family: Family, addresses: readonly bigint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 + addresses.length * 16))
  view.setUint32(0, family, true)
  view.setUint32(4, addresses.length, true)
  for (const [i, address] of addresses.entries()) {
    view.setBigUint64(16 + i * 16, address >> 64n, true)
    view.setBigUint64(24 + i * 16, address & 0xffffffffffffffffn, true)
  }
  return new Uint8Array(view.buffer)
}

async function lookup(program: string, family: Family, addresses: readonly bigint[]): Promise<number[]> {
  return withExchange(async (directory) => {
    const batches = Array.from({ length: Math.ceil(addresses.length / BATCH) }, (_, i) =>
      addresses.slice(i * BATCH, (i + 1) * BATCH),
    )
    const commands = batches.map((batch, i) => {
      const file = join(directory, `${i}`)
      writeFileSync(file, encodeQueries(family, batch))
      const size = String(16 + batch.length * 16)
      return bpftool(
        'prog',
        'run',
        'pinned',
        program,
        'data_in',
        file,
        'data_out',
        `${file}.out`,
        'data_size_out',
        size,
      )
    })
    for (const output of await runBatch(commands)) {
      const { retval } = output as { retval: number }
      if (retval !== PASS) throw new Error(`lookup returned ${retval}`)
    }
    return batches.flatMap((batch, i) => {
      const answer = readFileSync(join(directory, `${i}.out`))
      return batch.map((_, query) => Number(answer.readBigUInt64LE(16 + query * 16)))
    })
  })
}
