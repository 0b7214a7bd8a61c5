// examples/ansible on a machine: the first run changes it, the second does not, --check shows what would change, and a
// mistake in the config fails with its place and changes nothing.

import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab, type Output } from '../support/hosts.ts'
import { Machine } from '../support/machine.ts'
import { pack } from '../support/package.ts'

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url))
const [HOST, LISTED, OTHER] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'] as const

const config = (blocked: string): string =>
  `{ version: 1, interfaces: { eth0: { mode: native } }, blocklist: ["${blocked}"] }`

/** The role, with the config of a test in place of the example's. */
const role = (blocked: string): string => `- hosts: all
  gather_facts: false
  roles:
    - role: xdp
      vars:
        xdp_packages: []
        xdp_package: /srv/admin/xdp.tgz
        xdp_boot: true
        xdp_config: ${config(blocked)}
`

/** The module alone, for what it does by itself. */
const module = (blocked: string): string => `- hosts: all
  gather_facts: false
  vars:
    policy: ${config(blocked)}
  tasks:
    - xdp_apply:
        content: "{{ policy | to_nice_yaml(indent=2, sort_keys=false) }}"
`

let lab: Lab
let machine: Machine | string = 'not made'

beforeAll(async () => {
  lab = new Lab()
  const { tarball } = await pack(lab.directory)
  machine = await Machine.make({ packages: ['ansible-core'], lab, boots: true })
  if (typeof machine === 'string') return
  machine.copy(`${EXAMPLES}/ansible`, '/srv/admin/ansible')
  machine.copy(tarball, '/srv/admin/xdp.tgz')
  await machine.boot()
})
afterAll(async () => {
  if (typeof machine !== 'string') await machine.close()
  lab.close()
})

interface Played extends Output {
  readonly recap: string
}

/** Runs a playbook. Returns its output, and what the recap says of the host. */
async function play(box: Machine, playbook: string, ...flags: readonly string[]): Promise<Played> {
  box.write('/srv/admin/ansible/test.yml', playbook)
  const output = await box.run(
    ...['env', '--chdir=/srv/admin/ansible', 'ANSIBLE_LIBRARY=roles/xdp/library', 'ANSIBLE_PYTHON_INTERPRETER=python3'],
    ...['ansible-playbook', '--inventory', 'localhost,', '--connection', 'local', 'test.yml', ...flags],
  )
  return { ...output, recap: /^localhost\s*:(.*)$/m.exec(output.stdout)?.[1] ?? output.stderr }
}

const answered = async (): Promise<number[]> => [
  await lab.ping(HOST, { source: LISTED, count: 1 }),
  await lab.ping(HOST, { source: OTHER, count: 1 }),
]

test('the first run installs, applies and enables; the second changes nothing', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const first = await play(machine, role(LISTED))
  expect(first.exitCode, first.stdout).toBe(0)
  expect(first.recap).toMatch(/changed=[1-9].*failed=0/)
  expect(await answered()).toEqual([0, 1])
  expect(await machine.ok('systemctl', 'is-enabled', 'xdp')).toBe('enabled\n')
  expect(await machine.ok('systemctl', 'is-active', 'xdp')).toBe('active\n')
  const second = await play(machine, role(LISTED))
  expect(second.recap, second.stdout).toMatch(/changed=0.*failed=0/)
})

test('--check --diff shows the plan and changes nothing', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const { stdout, recap } = await play(machine, module(OTHER), '--check', '--diff')
  expect(recap).toMatch(/changed=1 .*failed=0/)
  expect(stdout).toContain(`-- ${LISTED}`)
  expect(stdout).toContain(`+- ${OTHER}`)
  expect(stdout).toMatch(/~ blocklist +hitless \(config-changed\)/)
  expect(stdout).toContain('Plan for /etc/xdp/xdp.yaml')
  expect(machine.read('/etc/xdp/xdp.yaml')).toContain(LISTED)
  expect(await machine.ok('ls', '-A', '/etc/xdp')).toBe('xdp.yaml\n')
  expect(await answered()).toEqual([0, 1])
})

test('a mistake fails with its place and changes nothing; what comes next takes effect', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const before = machine.read('/etc/xdp/xdp.yaml')
  const failed = await play(machine, module('192.0.2.300'))
  expect(failed.exitCode).toBe(2)
  expect(failed.recap).toMatch(/changed=0.*failed=1/)
  expect(failed.stdout).toMatch(/"msg": "\/etc\/xdp\/xdp\.yaml:\d+:\d+: error\[E020 bad-address\]/)
  expect(machine.read('/etc/xdp/xdp.yaml')).toBe(before)
  expect(await answered()).toEqual([0, 1])
  const { recap } = await play(machine, module(OTHER))
  expect(recap).toMatch(/changed=1 .*failed=0/)
  expect(machine.read('/etc/xdp/xdp.yaml')).toContain(OTHER)
  expect(await answered()).toEqual([1, 0])
})
