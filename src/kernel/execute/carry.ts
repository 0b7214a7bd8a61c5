// Copies the content of maps that became too small to larger ones, with programs that are loaded only for
// that. abi_carry.h describes their input.

import { writeFile } from 'node:fs/promises'
import { ran } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type Command } from '../../abi/command.ts'
import { CARRY_LINES, CARRY_SLOTS, carryHeaderCodec } from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import type { Carrying, LineRange } from '../../features/step.ts'
import { askBatch, runBpftool } from '../tools/bpftool.ts'
import { type CpuRange, possibleCpus } from '../tools/cpus.ts'
import { withExchange } from '../tools/exchange.ts'
import { place } from '../tools/place.ts'
import { runLine } from '../tools/transfer.ts'

/** For each map that can be carried over: the program, and its names for the old and the new map. */
const PROGRAMS = {
  serviceStats: { program: 'carry_services', before: 'service_before', after: 'service_after' },
  backendStats: { program: 'carry_backends', before: 'backend_before', after: 'backend_after' },
  snatPorts: { program: 'carry_ports', before: 'ports_before', after: 'ports_after' },
  rateBuckets: { program: 'carry_rates', before: 'rates_before', after: 'rates_after' },
  freedBuckets: { program: 'clear_rates', before: 'rates_before', after: 'rates_after' },
} as const

/** XDP_PASS */
const CARRIED = 2

/** The command that loads the programs with these maps. */
export const loadCarryCommand = (object: string, directory: string, carrying: readonly Carrying[]): Command =>
  bpftool(
    ...['prog', 'loadall', object, directory],
    ...carrying.flatMap(({ map, from, to }) => [
      ...['map', 'name', PROGRAMS[map].before, 'pinned', from],
      ...['map', 'name', PROGRAMS[map].after, 'pinned', to],
    ]),
  )

function header(count: number, first: number, { first: firstCpu, count: cpus }: CpuRange, size: number): DataView {
  const view = new DataView(new ArrayBuffer(carryHeaderCodec.size + size))
  carryHeaderCodec.encode({ count, first, first_cpu: firstCpu, cpus }, view)
  return view
}

const chunks = (count: number, most: number): LineRange[] =>
  Array.from({ length: Math.ceil(count / most) }, (_, i) => ({
    first: i * most,
    count: Math.min(most, count - i * most),
  }))

/** The input of every run for one map. */
export function carryData(carrying: Carrying, cpus: readonly CpuRange[]): Uint8Array[] {
  if ('ranges' in carrying) {
    return carrying.ranges.flatMap((range) =>
      chunks(range.count, CARRY_LINES).map(
        ({ first, count }) => new Uint8Array(header(count, range.first + first, { first: 0, count: 0 }, 0).buffer),
      ),
    )
  }
  const { slots } = carrying
  return chunks(slots.length, CARRY_SLOTS).flatMap(({ first, count }) =>
    cpus.map((range) => {
      const view = header(count, 0, range, count * 4)
      for (let i = 0; i < count; i++)
        view.setUint32(carryHeaderCodec.size + i * 4, slots[first + i] as number, LITTLE_ENDIAN)
      return new Uint8Array(view.buffer)
    }),
  )
}

/** Lines for the runs in `plan --commands`. */
export function carryLines(directory: string, carrying: readonly Carrying[]): string[] {
  return carrying.map(({ map }) => `bpftool prog run pinned ${directory}/${PROGRAMS[map].program} data_in SLOTS`)
}

/** Runs the loaded programs for these maps. Throws E108 if one fails. */
export async function carry(directory: string, carrying: readonly Carrying[]): Promise<void> {
  if (carrying.length === 0) return
  const cpus = await possibleCpus()
  await withExchange(async (exchange) => {
    const commands: Command[] = []
    for (const one of carrying) {
      for (const data of carryData(one, cpus)) {
        const file = `${exchange}/${commands.length}`
        await writeFile(file, data)
        commands.push(runLine(`${directory}/${PROGRAMS[one.map].program}`, file, '/dev/null'))
      }
    }
    const outputs = await askBatch(ran, commands)
    if (outputs.some(({ retval }) => retval !== CARRIED))
      throw fail('E108', 'counters, ports or rates could not be carried over')
  })
}

/** Loads the programs that carry content over, into `directory`. */
export async function loadCarry(object: string, directory: string, carrying: readonly Carrying[]): Promise<void> {
  await place(object)
  await runBpftool(...loadCarryCommand(object, directory, carrying).argv)
}
