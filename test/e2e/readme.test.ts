// Runs the session in the README: applies its file, runs its commands, compares their output.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sessionOfPicture } from '../../scripts/lib/session.mjs'
import { shownBy } from '../../scripts/lib/svg.mjs'
import { inTurns } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')
const README = read('README.md')

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(() => lab.close())

const blocks = (language: string): string[] =>
  [...README.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(([, text = '']) => text)
const CONFIGS = blocks('yaml')
const CONFIG = CONFIGS[0] ?? ''

/** Hides digests, which change with every build, and the warning about the veth peer, which only test hosts have. */
const normalize = (text: string): string =>
  text
    .replaceAll(/\b[0-9a-f]{12,16}\b/g, 'DIGEST')
    .replace(/^xdp\.yaml:3:\d+: warning\[W201[\s\S]*?\n\n/m, '')
    .trimEnd()

test('every command in the README prints the output shown there', async () => {
  lab.write('xdp.yaml', CONFIG)
  const session = blocks('console')
    .join('')
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
  expect(CONFIGS.length).toBeGreaterThan(1)
  for (const text of CONFIGS) {
    lab.write('shown.yaml', text)
    expect(await lab.ok('validate', '-f', 'shown.yaml')).toContain('is valid')
  }
})

test('the first config has at most ten lines', () => {
  expect(CONFIG.trimEnd().split('\n').length).toBeLessThanOrEqual(10)
})

inTurns('the picture shows what its session prints', async () => {
  const session = await sessionOfPicture()
  // `npm run picture` makes it again.
  expect(shownBy(read('docs/demo.svg'))).toEqual(session.split('\n').map((line: string) => line.trimEnd()))
})
