// A run of `npm test` is a sample: slow tests take turns, and random tests draw their cases. One number decides all of
// it, which comes from the commit, so that two runs of a commit are equal and the next commit has other cases.
import { createHash, randomInt } from 'node:crypto'
import { at } from './paths.mjs'
import { attempt } from './run.mjs'

/** Slow files of tests, in groups that take about as long; each run has one. Files of every run touch what they test, too, or it changes seldom. */
const GROUPS = [
  ['sources', 'chain', 'fail2ban'],
  ['crash-matrix'],
  ['saved-plan', 'hanging', 'next-hops', 'many-errors'],
  ['deprived', 'own-vip', 'offline'],
  ['history', 'abi', 'repair'],
  ['strange-frames', 'match', 'balance-standby', 'import', 'mode-change'],
  ['watch-services', 'feeds', 'sshd', 'balance-edits'],
  ['socketless', 'interfaces', 'established', 'reads'],
  ['stats', 'watch-edits', 'balance-path-mtu'],
  ['ansible', 'environment'],
  ['rate-limits', 'cuts', 'confirm'],
  ['systemd', 'doctor'],
].map((names) => names.map((name) => `test/e2e/${name}.test.ts`))

/** `SEED`, or else a number below 2^31 from the commit; with `THOROUGH=1`, or without a commit, a random one. */
export async function seedOfRun() {
  const given = Number(process.env.SEED)
  if (Number.isInteger(given) && given > 0) return given % 2 ** 31
  const { status, output } = await attempt('git', ['-C', at('.'), 'rev-parse', 'HEAD'])
  if (process.env.THOROUGH === '1' || status !== 0) return randomInt(1, 2 ** 31)
  return createHash('sha256').update(output.trim()).digest().readUInt32LE() % 2 ** 31
}

/** The files that a run leaves out. */
export function filesLeftOut(seed) {
  if (process.env.THOROUGH === '1') return []
  const mine = seed % GROUPS.length
  return GROUPS.flatMap((files, i) => (i === mine ? [] : files))
}

/**
 * One of several, in turns from commit to commit. A given SEED does not choose it: the runs of all changes have one SEED.
 * `what` separates the choices of one commit.
 */
export async function turnOf(all, what) {
  const { status, output } = await attempt('git', ['-C', at('.'), 'rev-parse', 'HEAD'])
  if (status !== 0) return all[0]
  return all[createHash('sha256').update(`${what} ${output.trim()}`).digest().readUInt32LE() % all.length]
}
