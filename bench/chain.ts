// npm run bench chain: the cost of handing a packet on to a program behind ours (`on_conflict: chain`).
//
// Three filters of one policy judge one packet in turns: loaded without the part, with it and no program in
// the slot of the interface, and with a program there that only passes. Every figure is the median over rounds. Compare
// differences: nanoseconds depend on the machine and its other load.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { bpftool } from '../src/abi/command.ts'
import { partsFor } from '../src/features/features.ts'
import { runBatch, runBpftool } from '../src/kernel/tools/bpftool.ts'
import { withExchange } from '../src/kernel/tools/exchange.ts'
import type { State } from '../src/model/state.ts'
import { DataPlane, imageOf } from '../test/support/bpf.ts'
import { buildObject } from '../test/support/objects.ts'
import { ethernet, ipv4, packet, udp } from '../test/support/packets.ts'
import { ANY, list, scoped, state } from '../test/support/states.ts'
import { conclude, median, table } from './support/report.ts'

const SLOT = 1
const REPEAT = 2 ** 20
const ROUNDS = 25
const [DROP, PASS] = [1, 2]

const POLICY: State = state({ policy: 'pass', lists: [list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24'))] })

const FRAMES = {
  pass: { source: '192.0.2.9', verdict: PASS },
  drop: { source: '198.51.100.9', verdict: DROP },
} as const
type FrameName = keyof typeof FRAMES

const SUBJECTS = ['without the part', 'an empty slot', 'a program that passes'] as const

async function open(hasPart: boolean, behind?: string): Promise<DataPlane> {
  const plane = await DataPlane.open()
  await plane.load(imageOf(POLICY), new Map([...partsFor(POLICY), ['chain', hasPart]]))
  if (behind !== undefined) await plane.chain(SLOT, behind)
  await plane.attachTestRuns(SLOT)
  return plane
}

async function timeOne(plane: DataPlane, frame: string, verdict: number): Promise<number> {
  const filter = plane.program('xdp_filter')
  const run = bpftool('prog', 'run', 'pinned', filter, 'data_in', frame, 'data_out', '/dev/null', 'repeat', `${REPEAT}`)
  const [, measured] = (await runBatch([run, run])) as { retval: number; duration: number }[]
  if (measured?.retval !== verdict) throw new Error(`the filter returned ${measured?.retval}, not ${verdict}`)
  return measured.duration
}

const directory = mkdtempSync('/dev/shm/xdp-bench-chain-')
const pins = `/sys/fs/bpf/xdp-bench-chain-${process.pid}`
const planes: DataPlane[] = []
try {
  const body = 'SEC("xdp.frags") int theirs(struct xdp_md *ctx) { return XDP_PASS; }'
  await runBpftool('prog', 'loadall', buildObject(directory, 'theirs', body), pins)
  for (const [hasPart, behind] of [[false], [true], [true, `${pins}/theirs`]] as const)
    planes.push(await open(hasPart, behind))
  const times = new Map<string, number[]>()
  await withExchange(async (files) => {
    const names = Object.keys(FRAMES) as FrameName[]
    for (const name of names) {
      const { source } = FRAMES[name]
      writeFileSync(`${files}/${name}`, packet(ethernet(), ipv4({ source, destination: '192.0.2.1' }), udp()))
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of names) {
        for (const [i, plane] of planes.entries()) {
          const key = `${SUBJECTS[i]} ${name}`
          const duration = await timeOne(plane, `${files}/${name}`, FRAMES[name].verdict)
          times.set(key, [...(times.get(key) ?? []), duration])
        }
      }
    }
  })
  const at = (subject: (typeof SUBJECTS)[number], name: FrameName): number =>
    median(times.get(`${subject} ${name}`) as readonly number[])
  const rows = SUBJECTS.map((subject) => [subject, at(subject, 'pass').toFixed(0), at(subject, 'drop').toFixed(0)])
  console.log(table(['ns per packet', 'passes', 'is dropped'], rows))
  const added = (subject: (typeof SUBJECTS)[number], name: FrameName): number =>
    at(subject, name) - at('without the part', name)
  const figures = Object.fromEntries(
    SUBJECTS.map((subject) => [subject, { pass: added(subject, 'pass'), drop: added(subject, 'drop') }]),
  )
  const limit = 15
  const measured = added('a program that passes', 'pass')
  conclude('chain', [{ kind: 'target', what: 'a packet handed on: added', limit, measured, unit: 'ns' }], {
    added: figures,
  })
} finally {
  for (const plane of planes) plane.close()
  rmSync(pins, { recursive: true, force: true })
  rmSync(directory, { recursive: true, force: true })
}
