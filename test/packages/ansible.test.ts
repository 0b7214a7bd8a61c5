// The Ansible role as a whole in clean roots of Debian without a Node: it installs the package, applies and enables; a second
// run changes nothing, and an edit is shown by --check and applied.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bareRoot } from '../support/debian.ts'
import { ETH0, Lab, type Output } from '../support/hosts.ts'
import { type Machine, QUICK_ANSIBLE, RELEASES } from '../support/machine.ts'
import { machineWithDeb } from '../support/package.ts'

const ROLE = resolve(import.meta.dirname, '../../examples/ansible')
const HOST = '192.0.2.1'
const [LISTED, OTHER] = ['192.0.2.2', '192.0.2.3'] as const

/** Without facts: the role asks for those that it needs. */
const playbook = (blocked: string, variables = ''): string => `- hosts: all
  gather_facts: false
  roles:
    - role: xdp
      vars:
        xdp_config: { version: 1, interfaces: { eth0: {} }, blocklist: ["${blocked}"] }
${variables}`
const PACKAGE = '        xdp_package: /srv/admin/xdp.deb\n'

describe.each(RELEASES)('Debian $release', ({ release, boots }) => {
  let lab: Lab
  let machine: Machine | string = 'not made'

  beforeAll(async () => {
    lab = new Lab([ETH0])
    // debootstrap does not see that python3-cffi-backend provides what python3-cryptography depends on.
    const found = await bareRoot(release, 'ansible-core', 'python3', 'python3-cffi-backend')
    machine = await machineWithDeb('/srv/admin/xdp.deb', found, { lab, boots })
    if (typeof machine === 'string') return
    machine.copy(ROLE, '/srv/admin/ansible')
    if (boots) await machine.boot()
  })
  afterAll(async () => {
    if (typeof machine !== 'string') await machine.close()
    lab.close()
  })

  async function play(box: Machine, text: string, ...flags: readonly string[]): Promise<Output & { recap: string }> {
    box.write('/srv/admin/ansible/test.yml', text)
    const output = await box.run(
      ...['env', '--chdir=/srv/admin/ansible', 'LC_ALL=C.UTF-8', ...QUICK_ANSIBLE],
      ...['ansible-playbook', '--inventory', 'localhost,', '--connection', 'local', 'test.yml', ...flags],
    )
    return { ...output, recap: /^localhost\s*:(.*)$/m.exec(output.stdout)?.[1] ?? output.stderr }
  }

  test('without a package it fails in one line that says what to set', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const { exitCode, stdout } = await play(machine, playbook(LISTED))
    expect(exitCode).toBe(2)
    expect(stdout).toContain('set xdp_package to its .deb or .rpm, a URL or a file on the controller')
  })

  test('with npm on a host without a Node that is new enough it fails in one line', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const npm = '        xdp_package: xdp-as-code@0.1.0\n        xdp_packages: []\n'
    const { exitCode, stdout } = await play(machine, playbook(LISTED, npm))
    expect(exitCode).toBe(2)
    expect(stdout).toContain('xdp from npm needs Node 20.19 or newer, and this host has none')
  })

  test('it installs the package, applies the policy and enables it', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const { exitCode, stdout, recap } = await play(machine, playbook(LISTED, PACKAGE))
    expect(exitCode, stdout).toBe(0)
    expect(recap).toMatch(/changed=[1-9].*failed=0/)
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(0)
    expect(await lab.ping(HOST, { source: OTHER, count: 1 })).toBe(1)
    expect(await machine.ok('dpkg', '--verify', 'xdp-as-code')).not.toContain('missing')
    expect(existsSync(machine.path('/usr/bin/node'))).toBe(false)
    if (boots) expect(await machine.ok('systemctl', 'is-enabled', 'xdp')).toBe('enabled\n')
    else expect(stdout).not.toContain('Enable the units')
  })

  test('a second run changes nothing; --check shows an edit, and a run applies it', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const again = await play(machine, playbook(LISTED, PACKAGE))
    expect(again.recap, again.stdout).toMatch(/changed=0 .*failed=0/)
    const { stdout, recap } = await play(machine, playbook(OTHER, PACKAGE), '--check', '--diff')
    expect(recap).toMatch(/changed=1 .*failed=0/)
    expect(stdout).toMatch(/~ blocklist/)
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(0)
    expect((await play(machine, playbook(OTHER, PACKAGE))).recap).toMatch(/changed=1 .*failed=0/)
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(1)
    expect(await lab.ping(HOST, { source: OTHER, count: 1 })).toBe(0)
  })

  test('ansible-doc shows the documentation of the module', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const library = 'ANSIBLE_LIBRARY=/srv/admin/ansible/roles/xdp/library'
    const text = await machine.ok('env', 'LC_ALL=C.UTF-8', library, 'ansible-doc', '--type', 'module', 'xdp_apply')
    expect(text).toContain('accept_shrink')
    expect(text).toMatch(/EXAMPLES:[\s\S]*RETURN VALUES:/)
  })
})
