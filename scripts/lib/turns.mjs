// Slow files of tests that take turns: each run has one of these groups, which take about as long, and `THOROUGH=1` has all. What
// they test is also touched by files of every run, or changes seldom.

const GROUPS = [
  ['sources', 'chain', 'fail2ban', 'many-errors', 'own-vip', 'abi', 'repair'],
  ['crash-matrix', 'saved-plan', 'hanging', 'next-hops'],
  ['match', 'balance-standby', 'deprived', 'history', 'strange-frames', 'import', 'mode-change'],
  ['socketless', 'interfaces', 'watch-services', 'feeds', 'sshd', 'balance-edits'],
  ['rate-limits', 'cuts', 'stats', 'watch-edits', 'ansible', 'environment', 'established', 'reads', 'balance-path-mtu'],
].map((names) => names.map((name) => `test/e2e/${name}.test.ts`))

/** The files that this run leaves out. */
export function filesLeftOut() {
  if (process.env.THOROUGH === '1') return []
  const mine = Math.floor(Math.random() * GROUPS.length)
  return GROUPS.flatMap((files, i) => (i === mine ? [] : files))
}
