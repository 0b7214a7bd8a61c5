// examples/ansible on a machine: the first run changes it, --check shows the changes of another run, a mistake in the
// config fails with its place and changes nothing. test/e2e/tutorial.test.ts has a second run of the whole role.

import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { Lab, type Output } from '../support/hosts.ts'
import { type Machine, QUICK_ANSIBLE } from '../support/machine.ts'
import { packagedMachine } from '../support/package.ts'

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
        xdp_package: "/srv/admin/xdp-as-code-{{ xdp_version }}.tgz"
        xdp_boot: true
        xdp_config: ${config(blocked)}
`

/** Only the module, with one config after the other. */
const module = (...blocked: readonly string[]): string => `- hosts: all
  gather_facts: false
  tasks:
    - xdp_apply:
        content: "{{ item | to_nice_yaml(indent=2, sort_keys=false) }}"
      loop: [${blocked.map(config).join(', ')}]
`

let lab: Lab
let machine: Machine | string = 'not made'

beforeAll(async () => {
  lab = new Lab()
  machine = await packagedMachine(lab, ['ansible-core'])
  if (typeof machine === 'string') return
  machine.copy(`${EXAMPLES}/ansible`, '/srv/admin/ansible')
  await machine.boot()
})
afterAll(async () => {
  if (typeof machine !== 'string') await machine.close()
  lab.close()
})

interface Played extends Output {
  readonly recap: string
}

/** Runs a playbook. Returns its output, and the recap line of the host. */
async function play(box: Machine, playbook: string, ...flags: readonly string[]): Promise<Played> {
  box.write('/srv/admin/ansible/test.yml', playbook)
  const output = await box.run(
    ...['env', '--chdir=/srv/admin/ansible', 'ANSIBLE_LIBRARY=roles/xdp/library', ...QUICK_ANSIBLE],
    ...['ansible-playbook', '--inventory', 'localhost,', '--connection', 'local', 'test.yml', ...flags],
  )
  return { ...output, recap: /^localhost\s*:(.*)$/m.exec(output.stdout)?.[1] ?? output.stderr }
}

const answered = async (): Promise<number[]> => [
  await lab.ping(HOST, { source: LISTED, count: 1 }),
  await lab.ping(HOST, { source: OTHER, count: 1 }),
]

test('the first run installs, applies and enables', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const { exitCode, stdout, recap } = await play(machine, role(LISTED))
  expect(exitCode, stdout).toBe(0)
  expect(recap).toMatch(/changed=[1-9].*failed=0/)
  expect(await answered()).toEqual([0, 1])
  expect(await machine.ok('systemctl', 'is-enabled', 'xdp')).toBe('enabled\n')
  expect(await machine.ok('systemctl', 'is-active', 'xdp')).toBe('active\n')
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

test('a mistake fails with its place, and neither the file nor the kernel changes', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const before = machine.read('/etc/xdp/xdp.yaml')
  const { exitCode, stdout, recap } = await play(machine, module('192.0.2.300'))
  expect(exitCode).toBe(2)
  expect(recap).toMatch(/changed=0.*failed=1/)
  expect(stdout).toMatch(/"msg": "\/etc\/xdp\/xdp\.yaml:\d+:\d+: error\[E020 bad-address\]/)
  expect(machine.read('/etc/xdp/xdp.yaml')).toBe(before)
  expect(await answered()).toEqual([0, 1])
})

inDepth('a config in force is ok, and an edit takes effect in the file and in the kernel', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const { stdout } = await play(machine, module(LISTED, OTHER))
  expect(stdout).toMatch(new RegExp(`^ok: .*${LISTED}.*\\n(?:.*\\n)*changed: .*${OTHER}`, 'm'))
  expect(machine.read('/etc/xdp/xdp.yaml')).toContain(OTHER)
  expect(await answered()).toEqual([1, 0])
})
