// Runs the session in the README: applies its file, runs its commands, compares their output.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

const README = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8')

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(() => lab.close())

function block(language: string): string {
  const found = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(README)?.[1]
  if (found === undefined) throw new Error(`the README has no ${language} block`)
  return found
}

/** Hides digests, which change with every build, and the warning about the veth peer, which only test hosts have. */
const normalize = (text: string): string =>
  text
    .replaceAll(/\b[0-9a-f]{12,16}\b/g, 'DIGEST')
    .replace(/^xdp\.yaml:3:\d+: warning\[W201[\s\S]*?\n\n/m, '')
    .trimEnd()

test('every command in the README prints the output shown there', async () => {
  lab.write('xdp.yaml', block('yaml'))
  const session = block('console')
    .split(/^\$ /m)
    .filter((part) => part !== '')
  expect(session.length).toBeGreaterThan(3)
  for (const part of session) {
    const [command = '', ...expected] = part.split('\n')
    const [words = '', filter] = command.split(' | ')
    const output = await lab.ok(...words.split(' ').slice(1))
    const shown = filter === 'tail -1' ? (output.trimEnd().split('\n').at(-1) ?? '') : output
    expect(normalize(shown), `$ ${command}`).toBe(normalize(expected.join('\n')))
  }
})

test('every config in the README is valid', async () => {
  const files = [...README.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text)
  expect(files.length).toBeGreaterThan(1)
  for (const text of files) {
    lab.write('shown.yaml', text)
    expect(await lab.ok('validate', '-f', 'shown.yaml')).toContain('is valid')
  }
})

test('the first config has at most ten lines', () => {
  expect(block('yaml').trimEnd().split('\n').length).toBeLessThanOrEqual(10)
})
