// Makes the tables of docs/compatibility.md from test/kernels/results.json.
import { FEATURES, FLOOR, isBelowFloor } from '../kernels/matrix.mjs'
import { code, table, withParts } from './markdown.mjs'

/** Instructions that the verifier of Linux processes at most (BPF_COMPLEXITY_LIMIT_INSNS). */
const LIMIT = 1_000_000

const number = (value) => value.toLocaleString('en')
const seriesOf = ({ release }) => /^\d+\.\d+/.exec(release)[0]

/** `6.1`, `6.1 arm64`, `7.3`. */
const headOf = (kernel) =>
  [seriesOf(kernel), ...(kernel.architecture === 'amd64' ? [] : [kernel.architecture])].join(' ')

function outcomeOf(kernel) {
  const failed = Object.entries(kernel.features).filter(([, passed]) => !passed)
  if (failed.length > 0) return `fails: ${failed.map(([name]) => FEATURES[name] ?? name).join('; ')}`
  return isBelowFloor(kernel.release) ? `refused, as it should be: older than ${FLOOR}` : 'all tests pass'
}

function kernels(all) {
  const rows = all.map((kernel) =>
    kernel.absent
      ? [kernel.name, '–', '–', 'not tested: not in the archive']
      : [headOf(kernel), code(kernel.release), kernel.suite, outcomeOf(kernel)],
  )
  return table(['Linux', 'Kernel of Debian', 'Suite', 'Result'], rows)
}

function features(tested) {
  const rows = Object.entries(FEATURES).map(([name, words]) => [
    words,
    ...tested.map(({ features: found }) => (found[name] === undefined ? '–' : found[name] ? 'yes' : '**no**')),
  ])
  return table(['Tested', ...tested.map(headOf)], rows)
}

/** A row for each program whose verification takes more than a thousandth of the limit, the largest first. */
function instructions(tested) {
  const verified = tested.filter((kernel) => kernel.instructions.everything)
  const row = (words, name, policy) => [
    words,
    ...verified.map(({ instructions: { [policy]: counts } }) => {
      const count = counts?.[name]
      return count === undefined ? '–' : `${number(count)} (${((count / LIMIT) * 100).toFixed(1)} %)`
    }),
  ]
  const most = (name) => Math.max(...verified.map(({ instructions: { everything } }) => everything[name] ?? 0))
  const names = [...new Set(verified.flatMap(({ instructions: { everything } }) => Object.keys(everything)))]
  const large = names.filter((name) => most(name) > LIMIT / 1000).sort((a, b) => most(b) - most(a))
  const lists = ['xdp_filter', 'explain'].map((name) => row(`${code(name)}, lists alone`, name, 'lists'))
  const every = large.map((name) => row(code(name), name, 'everything'))
  return table(['Program', ...verified.map(headOf)], [...every, ...lists])
}

const older = ([major, minor], [otherMajor, otherMinor]) => major - otherMajor || minor - otherMinor

/** The needs of each feature, the newest first. */
function needs(records) {
  const rows = records.flatMap(({ name, needs: own }) =>
    [...own].sort((a, b) => older(b.since, a.since)).map(({ since, what }) => [name, what, since.join('.')]),
  )
  return table(['Feature', 'Needs', 'Since Linux'], rows)
}

/** The text with all tables. `records`: the features of src/features. */
export function withCompatibility(text, { kernels: all }, records) {
  const tested = all.filter(({ absent }) => absent === undefined)
  const parts = {
    kernels: kernels(all),
    features: features(tested),
    instructions: instructions(tested),
    needs: needs(records),
  }
  return Object.entries(parts).reduce((page, [name, made]) => withParts(page, name, () => made), text)
}
