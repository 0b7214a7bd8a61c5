// npm run bench flood [-- --all] [-- --slices N] [-- --milliseconds N] [-- --real-time]: the receiver's CPU time per
// frame of a flood, by filter, end to end over a veth pair.
//
// Each filter takes turns with a reference in short slices (ABBA, so that drift cancels out), and the figure is the
// median of the ratios of neighbouring slices. Slices go on until the interval of confidence of that median is narrow.
// A pair counts only if the receiver was busy in both slices: one that waits for frames pays for waking up, too. A row
// without enough such pairs is marked, and no claim is judged by it. With --real-time sender and receiver go before all
// ordinary processes, for a machine with other work: choose short slices then.

import { parseArgs } from 'node:util'
import { publicAddresses } from './support/addresses.ts'
import { type Attachment, type Duel, makeDuels, switchTo, UNLISTED } from './support/filters.ts'
import { type Flooded, type FloodHost, makeFloodHost, whyNoFlood } from './support/flood.ts'
import { type Host, makeHost } from './support/host.ts'
import { machineLoad } from './support/loaders.ts'
import { interval } from './support/pairs.ts'
import { type Claim, conclude, median, table } from './support/report.ts'

const { values: options } = parseArgs({
  options: {
    all: { type: 'boolean', default: false },
    slices: { type: 'string', default: '120' },
    milliseconds: { type: 'string', default: '150' },
    'real-time': { type: 'boolean', default: false },
  },
})
const MILLION = 1_000_000
const FEWEST_PAIRS = 12
/** Half the width of the interval of confidence, relative to the median, at which slices end. */
const NARROW = 0.02
/** Share of the time that the receiver must run: below, its wake-ups are part of the figure. */
const BUSY = 0.95

interface Pair {
  readonly subject: Flooded
  readonly reference: Flooded
}

interface Measured {
  readonly duel: Duel
  readonly pairs: readonly Pair[]
}

const isBusy = ({ subject, reference }: Pair): boolean => subject.busy >= BUSY && reference.busy >= BUSY
const ratio = ({ subject, reference }: Pair): number => subject.ns / reference.ns

/** The pairs to judge by: those with a busy receiver, or all if these are too few. */
function judged(pairs: readonly Pair[]): { readonly pairs: readonly Pair[]; readonly isBusy: boolean } {
  const busy = pairs.filter(isBusy)
  return busy.length >= FEWEST_PAIRS ? { pairs: busy, isBusy: true } : { pairs, isBusy: false }
}

function isNarrow(all: readonly Pair[]): boolean {
  const { pairs, isBusy } = judged(all)
  if (!isBusy) return false
  const ratios = pairs.map(ratio)
  const [low, high] = interval(ratios)
  return (high - low) / 2 <= NARROW * median(ratios)
}

async function fight(host: Host, flooding: FloodHost, duel: Duel): Promise<Measured> {
  const { subject, reference, destination } = duel
  const attachments = { subject: subject.prepare(), reference: reference.prepare() }
  let current: Attachment
  const slice = async (side: 'subject' | 'reference'): Promise<Flooded> => {
    switchTo(host, current, attachments[side])
    current = attachments[side]
    const run = await flooding.flood(Number(options.milliseconds), destination)
    const { name, passes } = duel[side]
    if (!passes && run.passed > 0) throw new Error(`${name}: ${(100 * run.passed).toFixed(2)} % of the frames passed`)
    return run
  }
  const pairs: Pair[] = []
  try {
    await flooding.aim(subject.sources)
    // The first slice warms caches, and is not counted.
    await slice('subject')
    for (let turn = 0; turn < Number(options.slices) && !isNarrow(pairs); turn += 2) {
      const isFirst = turn % 4 === 0
      const one = await slice(isFirst ? 'subject' : 'reference')
      const other = await slice(isFirst ? 'reference' : 'subject')
      pairs.push(isFirst ? { subject: one, reference: other } : { subject: other, reference: one })
    }
  } finally {
    switchTo(host, current, undefined)
    subject.release()
    reference.release()
  }
  return { duel, pairs }
}

const count = (number: number): string => number.toLocaleString('en')

function row({ duel: { subject, reference }, pairs: all }: Measured): string[] {
  const { pairs, isBusy } = judged(all)
  const ratios = pairs.map(ratio)
  const [low, high] = interval(ratios)
  const busy = (side: keyof Pair): string => `${(100 * median(all.map((pair) => pair[side].busy))).toFixed(0)} %`
  return [
    subject.name,
    subject.listed > 0 ? count(subject.listed) : '-',
    subject.passes ? 'pass' : 'drop',
    reference.name,
    median(ratios).toFixed(2),
    `${low.toFixed(2)} to ${high.toFixed(2)}`,
    median(pairs.map((pair) => pair.subject.ns)).toFixed(0),
    median(pairs.map((pair) => pair.reference.ns)).toFixed(0),
    `${pairs.length} of ${all.length}`,
    isBusy ? '' : `not busy: ${busy('subject')}, ${busy('reference')}`,
  ]
}

const HEAD = ['filter', 'listed', 'frames', 'reference', 'ratio', '95 % interval', 'ns', 'ns (ref.)', 'pairs', '']

function claimsOf(measured: readonly Measured[]): Claim[] {
  const claim = (listed: number, passes: boolean, reference: string, limit: number): Claim[] =>
    measured
      .filter(
        ({ duel, pairs }) =>
          duel.subject.name === 'xdp' &&
          duel.subject.listed === listed &&
          duel.subject.passes === passes &&
          duel.reference.name === reference &&
          judged(pairs).isBusy,
      )
      .map(({ pairs }) => ({
        what: `${count(listed)} listed, frames ${passes ? 'pass' : 'are dropped'}, as a ratio to ${reference}`,
        kind: 'target',
        limit,
        measured: median(judged(pairs).pairs.map(ratio)),
      }))
  return [
    ...[1, 10, 10_000].flatMap((listed) => claim(listed, false, 'xdp-filter', 0.8)),
    ...claim(10_000, true, 'xdp-filter', 0.8),
    ...claim(10_000, false, 'reads the headers, drops', 1.25),
    ...claim(MILLION, false, 'reads the headers, drops', 1.5),
    ...claim(10_000, true, 'reads the headers, passes', 1.25),
    ...claim(MILLION, true, 'reads the headers, passes', 1.5),
  ]
}

const reason = whyNoFlood()
if (reason) {
  console.log(`SKIP: ${reason}`)
} else {
  const addresses = publicAddresses(MILLION + UNLISTED)
  const host = makeHost(`xb${process.pid}`)
  const flooding = await makeFloodHost(host, addresses, options['real-time'])
  const { usable, skipped } = makeDuels(host, addresses, flooding, options.all)
  const measured: Measured[] = []
  for (const duel of usable) {
    const { subject, reference } = duel
    process.stderr.write(`${subject.name}, ${count(subject.listed)}, ${reference.name} …, load ${machineLoad()}\n`)
    measured.push(await fight(host, flooding, duel))
  }
  console.log(table(HEAD, measured.map(row)))
  for (const { name, reason } of skipped) console.log(`SKIP ${name}: ${reason}`)
  conclude('flood', claimsOf(measured), {
    duels: measured.map(({ duel: { subject, reference }, pairs }) => ({
      subject: { name: subject.name, listed: subject.listed, passes: subject.passes },
      reference: reference.name,
      pairs,
    })),
    skipped,
  })
}
