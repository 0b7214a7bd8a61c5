// npm run bench watch [-- --rounds N] [-- --edits N] [-- --sizes 10,100000]: measures by packets when an edit takes
// effect, and the daemon's memory over many edits.
//
// A list file of this many addresses gets one more line, which blocks the peer's source address. The figure is the time
// from the close of the file to the first packet judged by the new policy, without the debounce time.

import { appendFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { dotted, lines, publicAddresses } from './support/addresses.ts'
import {
  connect,
  DEBOUNCE,
  EDIT_HEADINGS,
  editRow,
  type Measured,
  memory,
  source,
  startDaemon,
  timeEdits,
} from './support/edits.ts'
import { makeHost } from './support/host.ts'
import { type Claim, conclude, MIB, median, table } from './support/report.ts'

/** In milliseconds, without the debounce time. */
const TARGETS: Readonly<Record<number, number>> = { 10: 60, 100000: 150, 1000000: 400 }

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    edits: { type: 'string', default: '1000' },
    sizes: { type: 'string', default: Object.keys(TARGETS).join() },
  },
})
const rounds = Number(options.rounds)
const sizes = options.sizes.split(',').map(Number)

const host = makeHost()
const say = (text: string): void => void process.stderr.write(`${text}\n`)
connect(host, rounds)

function writeConfig(size: number): string {
  const list = host.write('list.txt', lines(publicAddresses(size), dotted))
  host.write(
    'xdp.yaml',
    `version: 1\ninterfaces: { ${host.device}: {} }\nblocklist: [{ name: list, file: list.txt, max_shrink: 100% }]\n`,
  )
  return list
}

/** Resident memory of the daemon over many edits of a small file. */
async function memoryOver(edits: number): Promise<readonly (readonly [number, number])[]> {
  const list = writeConfig(10)
  const daemon = startDaemon(host)
  await daemon.hear('ready')
  const course: [number, number][] = []
  for (let edit = 1; edit <= edits; edit++) {
    appendFileSync(list, `198.19.${edit >> 8}.${edit & 255}\n`)
    await daemon.hear('applied')
    if (edit === 10 || edit % Math.max(1, Math.floor(edits / 10)) === 0) course.push([edit, memory(daemon.pid)])
  }
  await daemon.stop()
  return course
}

const claims: Claim[] = []
const measured: Record<string, Measured> = {}
for (const size of sizes) {
  say(`${size.toLocaleString('en')} addresses …`)
  const list = writeConfig(size)
  const result = await timeEdits(host, rounds, (round) => appendFileSync(list, `${source(round)}\n`))
  measured[size] = result
  const limit = TARGETS[size]
  if (limit === undefined) continue
  const what = `one line added to ${size.toLocaleString('en')}, median`
  claims.push({ what, kind: 'target', limit, measured: median(result.times), unit: 'ms' })
}
console.log(`One line added to a list file: from the close of the file to the first packet judged by the new policy,
in ms after the debounce of ${DEBOUNCE} ms (${rounds} rounds)\n`)
const rows = Object.entries(measured).map(([size, edits]) => [Number(size).toLocaleString('en'), ...editRow(edits)])
console.log(table(['addresses', ...EDIT_HEADINGS], rows))

const edits = Number(options.edits)
say(`${edits} edits …`)
const course = edits > 0 ? await memoryOver(edits) : []
if (course.length > 0) {
  console.log(`\nResident memory over ${edits.toLocaleString('en')} edits of a list of 10\n`)
  console.log(
    table(
      ['edits', 'RSS MiB'],
      course.map(([edit, bytes]) => [`${edit}`, (bytes / MIB).toFixed(1)]),
    ),
  )
}
conclude('watch', claims, { debounce: DEBOUNCE, measured, course })
