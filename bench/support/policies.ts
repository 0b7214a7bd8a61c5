// Times policies side by side: each in a data plane of its own, with test packets that a program changes before each run.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../../src/abi/command.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import type { State } from '../../src/model/state.ts'
import { LOW } from '../../src/tables/lines/lines.ts'
import { DataPlane } from '../../test/support/bpf.ts'
import { createMap } from './lookup.ts'
import { median } from './report.ts'

const REPEAT = 2 ** 16
export const [DROP, PASS] = [1, 2]

/** The program that passes everything, in place of a policy. */
export const NOTHING = 'nothing'

export interface Timing<Policy extends string, Frame extends string> {
  /** File name of the object, which is beside the bundle of the benchmark, and has programs `nothing` and `run`, and an array `subject` for the one under test. */
  readonly object: string
  /** The program that changes the packet. */
  readonly run: string
  readonly states: Readonly<Record<Policy, State>>
  readonly frames: Readonly<Record<Frame, Uint8Array>>
  readonly rounds: number
  /** The interface of test packets; undefined: none has the policy. */
  readonly slot?: number
  /** What the program returns; by default it passes. */
  readonly verdict?: (policy: Policy | typeof NOTHING, frame: Frame) => number
}

/** Median nanoseconds per packet. */
export type Median<Policy extends string, Frame extends string> = (
  policy: Policy | typeof NOTHING,
  frame: Frame,
) => number

/**
 * Times every policy with every frame in each round, so that other load meets all of them.
 *
 * @throws Error if a program returns another verdict
 */
export async function timePolicies<Policy extends string, Frame extends string>({
  object,
  run,
  states,
  frames,
  rounds,
  slot,
  verdict = () => PASS,
}: Timing<Policy, Frame>): Promise<Median<Policy, Frame>> {
  const directory = `/sys/fs/bpf/xdp-bench-${process.pid}`
  const wrapper = fileURLToPath(new URL(`./${object}`, import.meta.url))
  const policies = Object.keys(states) as Policy[]
  const names = Object.keys(frames) as Frame[]
  const planes: DataPlane[] = []
  const times = new Map<string, number[]>()
  mkdirSync(directory)
  try {
    const subject = { name: 'subject', type: 'prog_array', valueSize: 4, entries: 1, flags: 0 } as const
    await runBatch([createMap(`${directory}/subject`, subject)])
    const reuse = ['map', 'name', 'subject', 'pinned', `${directory}/subject`]
    await runBpftool('prog', 'loadall', wrapper, `${directory}/run`, ...reuse)
    const programs: [Policy | typeof NOTHING, string][] = [[NOTHING, `${directory}/run/nothing`]]
    for (const policy of policies) {
      const plane = await DataPlane.open()
      planes.push(plane)
      await plane.loadState(states[policy])
      if (slot !== undefined) await plane.attachTestRuns(slot)
      programs.push([policy, plane.program('xdp_filter')])
    }
    /** Nanoseconds per packet of the second of two runs. */
    const timeOne = async (program: string, frame: string): Promise<{ retval: number; duration: number }> => {
      const chosen = ['map', 'update', 'pinned', `${directory}/subject`, 'key', '0', '0', '0', '0']
      const timed = bpftool(
        ...['prog', 'run', 'pinned', `${directory}/run/${run}`, 'data_in', frame],
        ...['data_out', '/dev/null', 'repeat', `${REPEAT}`],
      )
      const outputs = await runBatch([bpftool(...chosen, 'value', 'pinned', program), timed, timed])
      return outputs.at(-1) as { retval: number; duration: number }
    }
    await withExchange(async (files) => {
      for (const [i, name] of names.entries()) writeFileSync(`${files}/${i}`, frames[name])
      for (let round = 0; round < rounds; round++)
        for (const [i, name] of names.entries())
          for (const [policy, program] of programs) {
            const { retval, duration } = await timeOne(program, `${files}/${i}`)
            if (retval !== verdict(policy, name)) throw new Error(`${policy}, ${name}: returned ${retval}`)
            times.set(`${policy} ${name}`, [...(times.get(`${policy} ${name}`) ?? []), duration])
          }
    })
  } finally {
    for (const plane of planes) plane.close()
    rmSync(directory, { recursive: true })
  }
  return (policy, frame) => median(times.get(`${policy} ${frame}`) as readonly number[])
}

/** A UDP datagram to port 53 for `run_sources`, behind whose UDP header is the number of sources: a power of two. */
export function datagramOf(sources: number): Uint8Array {
  const frame = new Uint8Array(64)
  const view = new DataView(frame.buffer)
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50], 0)
  frame.set([64, 17], 22)
  frame.set([198, 0, 0, 1, 192, 0, 2, 1, 0, 9, 0, 53, 0, 30], 26)
  view.setUint32(42, sources, LOW === 0)
  return frame
}
