// Slow files of tests that take turns: each run has about a third of them, `THOROUGH=1` all. What they test is also touched by
// files of every run, or changes seldom.

const TURNS = [
  'abi',
  'ansible',
  'balance-edits',
  'balance-path-mtu',
  'chain',
  'crash-matrix',
  'deprived',
  'environment',
  'established',
  'fail2ban',
  'feeds',
  'hanging',
  'history',
  'import',
  'many-errors',
  'mode-change',
  'next-hops',
  'own-vip',
  'reads',
  'repair',
  'saved-plan',
  'sshd',
  'stats',
  'strange-frames',
  'watch-edits',
  'watch-services',
].map((name) => `test/e2e/${name}.test.ts`)

/** The files that this run leaves out. */
export function filesLeftOut() {
  if (process.env.THOROUGH === '1') return []
  const shuffled = TURNS.map((file) => ({ file, at: Math.random() })).sort((a, b) => a.at - b.at)
  return shuffled.slice(Math.ceil(TURNS.length / 3)).map(({ file }) => file)
}
