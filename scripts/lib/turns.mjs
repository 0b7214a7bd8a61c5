// Slow files of tests that take turns: each run has one of these groups, which take about as long, and `THOROUGH=1` has all. What
// they test is also touched by files of every run, or changes seldom.

const GROUPS = [
  ['sources', 'chain', 'fail2ban'],
  ['crash-matrix'],
  ['saved-plan', 'hanging', 'next-hops', 'many-errors'],
  ['deprived', 'own-vip', 'offline'],
  ['history', 'abi', 'repair'],
  ['strange-frames', 'match', 'balance-standby', 'import', 'mode-change'],
  ['watch-services', 'feeds', 'sshd', 'balance-edits'],
  ['socketless', 'interfaces', 'established', 'reads'],
  ['stats', 'watch-edits', 'ansible', 'environment', 'balance-path-mtu'],
  ['rate-limits', 'cuts', 'confirm'],
  ['systemd', 'doctor'],
].map((names) => names.map((name) => `test/e2e/${name}.test.ts`))

/** The files that this run leaves out. */
export function filesLeftOut() {
  if (process.env.THOROUGH === '1') return []
  const mine = Math.floor(Math.random() * GROUPS.length)
  return GROUPS.flatMap((files, i) => (i === mine ? [] : files))
}
