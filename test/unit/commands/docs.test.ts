// docs/commands.md covers exactly the existing commands, flags and exit statuses.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { GLOBAL_FLAGS } from '../../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { EXIT } from '../../../src/diagnostics.ts'

const TEXT = readFileSync(join(import.meta.dirname, '../../../docs/commands.md'), 'utf8')
const FLAGS = new Set([...Object.keys(GLOBAL_FLAGS), ...COMMANDS.flatMap(({ flags }) => Object.keys(flags))])

test('has a section for every command, and mentions every flag', () => {
  for (const { name } of COMMANDS) expect(TEXT).toContain(`\n## ${name}\n`)
  for (const flag of FLAGS) expect(TEXT).toContain(`--${flag}`)
})

test('mentions no unknown flag', () => {
  const named = [...TEXT.matchAll(/--([a-z][a-z-]+)/g)].map(([, flag]) => flag)
  expect(named.filter((flag) => flag === undefined || !FLAGS.has(flag))).toEqual([])
})

test('lists every exit status', () => {
  for (const status of Object.values(EXIT)) expect(TEXT).toContain(`\n| ${status} |`)
})
