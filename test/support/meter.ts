// The meter of rate limits alone, with a clock that the test sets, in a private pin directory.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../../src/abi/command.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import type { Taking } from '../../src/semantics/rates.ts'

const OBJECT = fileURLToPath(new URL('../../build/test/meter.bpf.o', import.meta.url))
const BATCH = 1000
const SIZE = 48
const PASS = 2

function encode(takings: readonly Taking[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 + takings.length * SIZE))
  view.setBigUint64(0, BigInt(takings.length), true)
  for (const [i, { now, cost, burst, most, first, second }] of takings.entries()) {
    const at = 8 + i * SIZE
    for (const [n, value] of [now, cost, burst, most].entries()) view.setBigUint64(at + n * 8, value, true)
    view.setUint32(at + 32, first, true)
    view.setUint32(at + 36, second, true)
  }
  return new Uint8Array(view.buffer)
}

let loaded = 0

export interface Meter {
  /** Whether each conforms, in their order. */
  readonly take: (takings: readonly Taking[]) => Promise<boolean[]>
  /** Takes the same `repeat` times on each of these CPUs at a time; the sum of those that conform needs the bucket. */
  readonly takeOn: (cpus: readonly number[], taking: Taking, repeat: number) => Promise<void>
  readonly bucket: (place: number) => Promise<bigint>
  readonly close: () => void
}

export async function openMeter(): Promise<Meter> {
  const directory = `/sys/fs/bpf/xdp-test-meter-${process.pid}-${++loaded}`
  mkdirSync(directory)
  const close = (): void => rmSync(directory, { recursive: true })
  try {
    await runBpftool('prog', 'loadall', OBJECT, `${directory}/programs`, 'pinmaps', `${directory}/maps`)
  } catch (error) {
    close()
    throw error
  }
  const program = (name: string): string => `${directory}/programs/${name}`
  return {
    close,
    take: (takings) =>
      withExchange(async (files) => {
        const batches = Array.from({ length: Math.ceil(takings.length / BATCH) }, (_, i) =>
          takings.slice(i * BATCH, (i + 1) * BATCH),
        )
        const commands = batches.map((batch, i) => {
          const bytes = encode(batch)
          writeFileSync(join(files, `${i}`), bytes)
          const out = ['data_out', join(files, `${i}.out`), 'data_size_out', `${bytes.length}`]
          return bpftool('prog', 'run', 'pinned', program('meter'), 'data_in', join(files, `${i}`), ...out)
        })
        for (const output of await runBatch(commands)) {
          if ((output as { retval: number }).retval !== PASS) throw new Error('the meter failed')
        }
        return batches.flatMap((batch, i) => {
          const answer = readFileSync(join(files, `${i}.out`))
          return batch.map((_, n) => answer.readBigUInt64LE(8 + n * SIZE + 40) === 1n)
        })
      }),
    takeOn: (cpus, taking, repeat) =>
      withExchange(async (files) => {
        writeFileSync(join(files, 'in'), encode([taking]))
        const run = ['bpftool', 'prog', 'run', 'pinned', program('meter_one'), 'data_in', join(files, 'in')]
        const each = cpus.map(
          (cpu) => `taskset -c ${cpu} ${run.join(' ')} data_out /dev/null repeat ${repeat} >/dev/null &`,
        )
        execFileSync('bash', ['-c', `${each.join('\n')}\nwait`])
      }),
    bucket: async (place) => {
      const key = [0, 8, 16, 24].map((shift) => `${(place >>> shift) & 255}`)
      const args = ['-j', 'map', 'lookup', 'pinned', `${directory}/maps/meters`, 'key', ...key]
      const { value } = JSON.parse(execFileSync('bpftool', args, { encoding: 'utf8' })) as { value: string[] }
      return Buffer.from(value.map(Number)).readBigUInt64LE()
    },
  }
}
