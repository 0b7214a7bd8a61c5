// docs/commands.md speaks of what is there, of all of it, and of nothing else.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { GLOBAL_FLAGS } from '../../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { EXIT } from '../../../src/diagnostics.ts'

const TEXT = readFileSync(join(import.meta.dirname, '../../../docs/commands.md'), 'utf8')
const FLAGS = new Set([...Object.keys(GLOBAL_FLAGS), ...COMMANDS.flatMap(({ flags }) => Object.keys(flags))])

test('every command has a section, every flag is explained', () => {
  for (const { name } of COMMANDS) expect(TEXT).toContain(`\n## ${name}\n`)
  for (const flag of FLAGS) expect(TEXT).toContain(`--${flag}`)
})

test('no flag is named that does not exist', () => {
  const named = [...TEXT.matchAll(/--([a-z][a-z-]+)/g)].map(([, flag]) => flag)
  expect(named.filter((flag) => flag === undefined || !FLAGS.has(flag))).toEqual([])
})

test('every exit status is listed', () => {
  for (const status of Object.values(EXIT)) expect(TEXT).toContain(`\n| ${status} |`)
})
