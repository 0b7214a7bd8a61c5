// examples/cloud-init as a server's first boot: runs its stages on a machine, from a seed of user-data. It installs the
// packed tarball; Debian's packages are already installed.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import type { Machine } from '../support/machine.ts'
import { packagedMachine } from '../support/package.ts'

const USER_DATA = readFileSync(new URL('../../examples/cloud-init/user-data.yaml', import.meta.url), 'utf8')
const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8'))
const TARBALL = `https://files.example.net/xdp-as-code-${version}.tgz`
const SEED = '/var/lib/cloud/seed/nocloud'
/** The commands of its units in order; without a network to configure, the first does nothing. */
const STAGES = ['init', 'modules --mode=config', 'modules --mode=final']

/** Runs only the modules of the example, not those for SSH keys and users. */
const SETTINGS = `datasource_list: [NoCloud, None]
network: { config: disabled }
cloud_init_modules: [write_files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts_user]
`

let lab: Lab
let machine: Machine | string = 'not made'

beforeAll(async () => {
  lab = new Lab()
  machine = await packagedMachine(lab, ['cloud-init'])
  if (typeof machine === 'string') return
  machine.write('/etc/cloud/cloud.cfg.d/99-test.cfg', SETTINGS)
  machine.write('/srv/admin/user-data.yaml', USER_DATA)
  await machine.boot()
})
afterAll(async () => {
  if (typeof machine !== 'string') await machine.close()
  lab.close()
})

/** The first boot of an instance. `blocked` replaces one of the example's networks. */
async function firstBoot(box: Machine, instance: string, blocked: string): Promise<void> {
  const adapted = USER_DATA.replace(/^packages:\n(?: {2}- .*\n)+/m, '')
    .replace('https://files.example.net', '/srv/admin')
    .replace('203.0.113.0/24', blocked)
  for (const part of ['/srv/admin/xdp-as-code', blocked, '#cloud-config']) expect(adapted).toContain(part)
  box.write(`${SEED}/user-data`, adapted)
  box.write(`${SEED}/meta-data`, `instance-id: ${instance}\n`)
  for (const stage of STAGES) await box.run('cloud-init', ...stage.split(' '))
}

const answered = async (): Promise<number[]> => [
  await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 }),
  await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 }),
]

test('the user-data matches the schema of cloud-init', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  expect(USER_DATA).toContain(TARBALL)
  expect(await machine.ok('cloud-init', 'schema', '--config-file', 'user-data.yaml')).toContain('Valid cloud-config')
})

inDepth('an invalid policy shows in cloud-init, systemd and status', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  await firstBoot(machine, 'i-1', '192.0.2.300')
  expect((await machine.run('cloud-init', 'status', '--long')).stdout).toMatch(/^status: error$/m)
  expect(await machine.ok('systemctl', '--failed', '--plain', '--no-legend')).toMatch(/^xdp\.service /m)
  expect(JSON.parse(await machine.ok('cat', '/run/xdp/last-apply.json'))).toMatchObject({
    result: 'failed',
    exit_status: 78,
    config: { path: '/etc/xdp/xdp.yaml' },
    error: { code: 'E020', at: { file: '/etc/xdp/xdp.yaml' } },
  })
  expect(await machine.ok('xdp', 'status')).toMatch(/Nothing is applied.*The last apply failed.*E020 bad-address/s)
  expect(await answered()).toEqual([1, 1])
})

inDepth('a valid policy is in force, and enabled for every boot', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  await machine.ok('cloud-init', 'clean', '--logs')
  await firstBoot(machine, 'i-2', '192.0.2.2')
  expect(await machine.ok('cloud-init', 'status')).toBe('status: done\n')
  expect(await machine.ok('find', '/usr', '-name', 'xdp.*[58]', '-path', '*/share/man/*')).toMatch(/xdp\.8\n/)
  expect(await machine.ok('systemctl', 'is-active', 'xdp')).toBe('active\n')
  expect(await machine.ok('systemctl', 'is-enabled', 'xdp')).toBe('enabled\n')
  // The allowlist of the example covers the host's first addresses.
  expect(JSON.parse(await machine.ok('xdp', 'why', '192.0.2.2', '--json')).live).toMatchObject({ list: 'office' })
  expect(JSON.parse(await machine.ok('xdp', 'why', '198.51.100.9', '--json')).live).toMatchObject({
    verdict: 'drop',
    list: 'scanners',
    proven: true,
  })
  expect(await machine.ok('xdp', 'status')).not.toContain('last apply')
})
