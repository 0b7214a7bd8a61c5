// Programs that the kernel does not let ours call: the refusal names the program, the interface and the remedy.

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { XdpError } from '../../../src/diagnostics.ts'
import type { ChainLink } from '../../../src/features/step.ts'
import { fillChain } from '../../../src/kernel/execute/chain.ts'
import type { Run } from '../../../src/kernel/execute/kind.ts'
import { type Output, useRunner } from '../../../src/kernel/tools/spawn.ts'

let directory: string
let restore: () => void = () => undefined
beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/xdp-chain-`)
})
afterEach(() => {
  restore()
  rmSync(directory, { recursive: true })
})

const done = (output: unknown): Output => ({ stdout: JSON.stringify(output), stderr: '', exitCode: 0 })
const refusedWith = (errno: number, words: string): Output => ({
  ...done({ error: `update failed: ${words}` }),
  exitCode: 256 - errno,
})

const linkOf = (name: string, id: number): ChainLink => ({
  interface: name,
  slot: id - 40,
  id,
  words: ['pinned', `/their/${id}`],
  pin: `${directory}/chain/${id}`,
  owner: undefined,
})

/** Fills a chain over a kernel that answers updates of the map by their values. Returns whether the filter is linear. */
async function fill(links: readonly ChainLink[], update: (value: string) => Output): Promise<boolean> {
  const idOf = (pin: string): number => Number(pin.slice(pin.lastIndexOf('/') + 1))
  restore = useRunner(async (_, argv, input) => {
    const line = argv.join(' ')
    if (line.includes('map update')) return update(argv.at(-1) as string)
    const lines = String(input ?? '')
      .trim()
      .split('\n')
    const answers = lines.map((one) => ({
      command: one.split(' '),
      output: one.startsWith('prog show') ? { id: idOf(one) } : null,
    }))
    return done(line.includes('batch') ? answers : null)
  })
  const run = { paths: { root: `${directory}/xdp-as-code` }, isLinear: false } as unknown as Run
  await fillChain(
    { directory: `${directory}/chain`, map: `${directory}/chain/programs`, kinds: 'kinds.bpf.o', links },
    run,
  )
  return run.isLinear
}

const isKind = (value: string): boolean => value.includes('/kinds/')

async function refusal(links: readonly ChainLink[], update: (value: string) => Output) {
  const error = await fill(links, update).catch((thrown: unknown) => thrown)
  if (!(error instanceof XdpError)) throw error
  return error.diagnostics[0]
}

test('refuses a program that others extend, such as the dispatcher of libxdp', async () => {
  const found = await refusal([linkOf('eth0', 42)], () => refusedWith(16, 'Device or resource busy'))
  expect(found).toMatchObject({ code: 'E257', message: expect.stringContaining('program 42 on eth0') })
  expect(found?.message).toContain('libxdp extend its dispatcher')
  expect(found?.hint).toContain('LIBXDP_SKIP_DISPATCHER=1')
})

test('refuses programs of different kinds on two interfaces', async () => {
  const links = [linkOf('eth0', 42), linkOf('eth1', 43)]
  const found = await refusal(links, (value) =>
    value.endsWith('/43') ? refusedWith(22, 'Invalid argument') : done(null),
  )
  expect(found).toMatchObject({ code: 'E257', message: expect.stringContaining('program 43 on eth1') })
  expect(found?.message).toContain('program 42 on eth0 does not, or the reverse')
})

test('refuses a program that no ordinary program may call', async () => {
  const found = await refusal([linkOf('eth0', 42)], (value) =>
    isKind(value) ? refusedWith(22, 'Invalid argument') : done(null),
  )
  expect(found).toMatchObject({ code: 'E257', message: expect.stringContaining('another attach type') })
})

test.each([
  ['kind_frags', false],
  ['kind_linear', true],
])('%s fits: the filter is linear: %s', async (kind, isLinear) => {
  const fits = (value: string): Output =>
    isKind(value) && !value.endsWith(kind) ? refusedWith(22, 'Invalid argument') : done(null)
  expect(await fill([linkOf('eth0', 42)], fits)).toBe(isLinear)
  expect(existsSync(`${directory}/chain/kinds`)).toBe(false)
})

test('one whose owner has put another in its place since the plan was made', async () => {
  const moved = { ...linkOf('eth0', 42), pin: `${directory}/chain/43` }
  expect(await refusal([moved], () => done(null))).toMatchObject({ code: 'E206' })
})
