// The manual pages are complete, and pass man, groff and mandoc without warnings.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { GLOBAL_FLAGS } from '../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { EXIT } from '../../src/diagnostics.ts'
import { unpacked } from '../support/debian.ts'
import { keyNames, readSchema } from '../support/schemas.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PAGES = ['xdp.8', 'xdp.yaml.5'] as const
const page = (name: string): string => join(ROOT, 'dist/man', name)

/** Renders a page in wide lines; warnings of man and groff are on stderr. */
function read(name: string): { readonly text: string; readonly objections: string } {
  const { stdout, stderr } = spawnSync('man', ['--warnings', '--local-file', page(name)], {
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '500', LC_ALL: 'C.UTF-8' },
  })
  return { text: stdout, objections: stderr }
}

const hasMan = spawnSync('man', ['--version']).status === 0

test.for(PAGES)('%s: man and groff print no warnings', (name, context) => {
  if (!hasMan) return context.skip('man is not installed')
  expect(read(name).objections).toBe('')
})

test.for(PAGES)('%s: mandoc prints no warnings', (name, context) => {
  const found = unpacked('mandoc')
  if ('reason' in found) return context.skip(found.reason)
  const own = join(found.root, 'usr/bin/mandoc')
  const { stdout, stderr } = spawnSync(existsSync(own) ? own : 'mandoc', ['-T', 'lint', '-W', 'warning', page(name)], {
    encoding: 'utf8',
  })
  expect(stdout + stderr).toBe('')
})

test('xdp(8) has every command, argument and flag with its help, and every exit status', (context) => {
  if (!hasMan) return context.skip('man is not installed')
  const { text } = read('xdp.8')
  const lines = text.split('\n').map((line) => line.trim())
  const says = (help: string): void => expect(text.replace(/\s+/g, ' ')).toContain(help)
  for (const { name, summary, argument, flags, examples } of COMMANDS) {
    expect(lines).toContain(`xdp ${name}`)
    says(`${summary.slice(1)}.`)
    for (const { line } of examples) expect(lines).toContain(line)
    for (const { help } of [...Object.values(flags), ...(argument ? [argument] : [])]) says(help)
    for (const [flag, spec] of Object.entries(flags)) says(`[--${flag}${'value' in spec ? ` ${spec.value}` : ''}]`)
  }
  for (const [flag, { help }] of Object.entries(GLOBAL_FLAGS)) {
    says(`--${flag}`)
    says(help)
  }
  const statuses = /\nEXIT STATUS\n(.*?)(?:\n\S|$)/s.exec(text)?.[1] ?? ''
  for (const status of Object.values(EXIT)) expect(statuses).toMatch(new RegExp(`^ +${status} +\\w`, 'm'))
})

test('xdp.yaml(5) has every key of the schema', (context) => {
  if (!hasMan) return context.skip('man is not installed')
  const names = new Set(keyNames(readSchema('xdp')))
  expect(names.size).toBeGreaterThan(20)
  const terms = read('xdp.yaml.5')
    .text.split('\n')
    .map((line) => line.trim().split(/\s{2,}/)[0])
  const shown = new Set(terms.map((term) => term?.split('.').at(-1)))
  expect([...names].filter((name) => !shown.has(name))).toEqual([])
})
