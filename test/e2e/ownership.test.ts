// root does not act on files that other users can change.

import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { ETH0, Lab, NO_OBJECTS } from '../support/hosts.ts'

const USER = 65534

let lab: Lab
let folder: string

beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(() => lab.close())
beforeEach(() => {
  folder = join(lab.directory, 'theirs')
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o755)
  chownSync(folder, 0, 0)
  writeFileSync(join(folder, 'xdp.yaml'), 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [192.0.2.2]\n')
  chownSync(join(folder, 'xdp.yaml'), 0, 0)
})

/** Runs xdp in the folder. */
const there = (...args: readonly string[]) => lab.xdpWithin(['env', `--chdir=${folder}`], ...args)

test.each([['validate'], ['plan'], ['apply', '--auto-approve'], ['why', '192.0.2.2'], ['watch']])(
  '%s does not pick up ./xdp.yaml of a directory of another user',
  async (...args) => {
    chownSync(folder, USER, USER)
    const { exitCode, stderr, stdout } = await there(...args)
    expect(stderr + stdout).toContain(`E132 insecure-file]: the directory ${folder} belongs to uid ${USER}`)
    expect(stderr + stdout).toContain(`chown root ${folder}, or accept it with --allow-insecure-permissions`)
    expect(exitCode).toBe(77)
    expect(lab.objects()).toEqual(NO_OBJECTS)
  },
)

test('--allow-insecure-permissions applies it', async () => {
  chownSync(join(folder, 'xdp.yaml'), USER, USER)
  expect((await there('apply', '--auto-approve')).exitCode).toBe(77)
  expect(await there('apply', '--auto-approve', '--allow-insecure-permissions')).toMatchObject({ exitCode: 0 })
  chownSync(join(folder, 'xdp.yaml'), 0, 0)
  expect((await there('plan', '--detailed-exitcode')).exitCode).toBe(0)
  await lab.ok('destroy', '--auto-approve')
})

test('other users may validate their own files', async () => {
  chmodSync(lab.directory, 0o755)
  chownSync(folder, USER, USER)
  chownSync(join(folder, 'xdp.yaml'), USER, USER)
  const { exitCode, stdout, stderr } = await lab.xdpWithin(
    ['setpriv', `--reuid=${USER}`, '--clear-groups', 'env', `--chdir=${folder}`],
    'validate',
  )
  expect([exitCode, stderr, stdout]).toEqual([0, '', expect.stringContaining('xdp.yaml is valid')])
})

test('`file: /etc/shadow` shows nothing of it, as text or JSON', async () => {
  const secret = lab.write('shadow', 'root:$y$j9T$salt$secret:19700:0:99999:7:::\n')
  chmodSync(secret, 0o640)
  writeFileSync(join(folder, 'xdp.yaml'), `version: 1\ninterfaces: { eth0: {} }\nblocklist: [{ file: ${secret} }]\n`)
  for (const format of [[], ['--json']]) {
    const { exitCode, stdout, stderr } = await there('validate', ...format)
    expect(exitCode).toBe(78)
    expect(stdout + stderr).toContain('is not shown')
    expect(stdout + stderr).not.toContain('secret')
  }
})
