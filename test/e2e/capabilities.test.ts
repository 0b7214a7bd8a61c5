// The table of docs/security.md: each command runs as root with exactly these capabilities, and is refused with one less.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EXIT } from '../../src/diagnostics.ts'
import { sample } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(async () => {
  await lab.xdp('confirm')
  await lab.xdp('destroy', '--auto-approve')
  lab.close()
})

const write = (blocked: string): string =>
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {} }\nblocklist: [203.0.113.0/24, ${blocked}]\n`)

async function live(): Promise<void> {
  write('192.0.2.2')
  await lab.ok('apply', '--auto-approve')
}
async function edited(): Promise<void> {
  await live()
  write('192.0.2.3')
}
async function pending(): Promise<void> {
  await edited()
  await lab.ok('apply', '--auto-approve', '--confirm', '1h')
}
async function banned(): Promise<void> {
  await live()
  await lab.ok('ban', '203.0.113.9')
}

const NONE: readonly string[] = []
const ATTACHING = ['net_admin']
const LOADING = ['bpf', 'perfmon', 'net_admin']

/** Command, capabilities, and the state before. */
const TABLE: readonly (readonly [string, readonly string[], () => Promise<void>])[] = [
  ['plan', NONE, edited],
  ['status', NONE, live],
  ['stats', NONE, live],
  ['why 192.0.2.2', NONE, live],
  ['bans', NONE, banned],
  ['diff live xdp.yaml', NONE, edited],
  ['ban 203.0.113.9', NONE, live],
  ['unban 203.0.113.9', NONE, banned],
  ['confirm', NONE, pending],
  ['confirm --cancel', ATTACHING, pending],
  ['destroy --auto-approve', ATTACHING, live],
  ['apply --auto-approve', LOADING, edited],
  ['apply --auto-approve --confirm 1h', LOADING, edited],
]

const within = (capabilities: readonly string[]): string[] => [
  'setpriv',
  `--bounding-set=-all${capabilities.map((one) => `,+${one}`).join('')}`,
  '--inh-caps=-all',
]

test.each(sample(TABLE, 4))('%s needs exactly %j', async (line, capabilities, prepare) => {
  await prepare()
  const args = line.split(' ')
  for (const without of capabilities) {
    const fewer = capabilities.filter((one) => one !== without)
    const { exitCode, stderr } = await lab.xdpWithin(within(fewer), ...args)
    expect([exitCode, stderr]).toEqual([EXIT.notPermitted, expect.stringContaining('E104')])
  }
  const { exitCode, stderr } = await lab.xdpWithin(within(capabilities), ...args)
  expect([exitCode, stderr]).toEqual([EXIT.ok, ''])
  await lab.xdp('confirm')
})

test('another user without capabilities may not read', async () => {
  await live()
  const { exitCode, stderr } = await lab.xdpWithin(
    ['setpriv', '--reuid=65534', '--clear-groups', '--inh-caps=-all'],
    'status',
  )
  expect([exitCode, stderr]).toEqual([EXIT.notPermitted, expect.stringContaining('E104')])
})

test('the documentation has these capabilities', () => {
  const text = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
  const rows = new Map(
    [...text.matchAll(/^\| (`.*?) \| (.*?) \|/gm)].flatMap(([, commands = '', needs = '']) =>
      [...commands.matchAll(/`([^`]+)`/g)].map(([, command = '']) => [command, needs] as const),
    ),
  )
  for (const [line, capabilities] of TABLE) {
    const words = line.replace(' --auto-approve', '').split(' ')
    const command = rows.has(words.slice(0, 2).join(' ')) ? words.slice(0, 2).join(' ') : words[0]
    const needs = rows.get(command ?? '') ?? ''
    const named = [...needs.matchAll(/CAP_([A-Z_]+)/g)].map(([, name = '']) => name.toLowerCase())
    expect([command, named]).toEqual([command, [...capabilities]])
    expect(needs).not.toBe('')
  }
})
