// The lines of docs/install.md for Debian, typed by a stranger on a clean root: from nothing to a filtering machine, and away
// again.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { emptyRoot } from '../support/debian.ts'
import { ETH0, Lab, type Output } from '../support/hosts.ts'
import { type Machine, RELEASES } from '../support/machine.ts'
import { machineWithDeb } from '../support/package.ts'

const PAGE = readFileSync(resolve(import.meta.dirname, '../../docs/install.md'), 'utf8')
const HOST = '192.0.2.1'
const [LISTED, OTHER] = ['192.0.2.2', '192.0.2.3'] as const

/** Lines of the first block of a section, without comments. */
function linesOf(section: string): string[] {
  const [, block = ''] = new RegExp(`^## ${section}\\n.*?^\`\`\`sh\\n(.*?)^\`\`\``, 'ms').exec(PAGE) ?? []
  return block
    .trim()
    .split('\n')
    .map((line) => line.replace(/\s+#.*/, ''))
}

/** A stranger's editor: names the interface and an address. */
const EDITOR = `#!/bin/sh
sed -i 's/^interfaces: .*/interfaces: { eth0: {} }\\nblocklist: [${LISTED}]/' "$1"
`

const UNREACHABLE = /Failed to fetch|Temporary failure|Could not/

/** Runs a line; apply without the question that a terminal would get, and with the confirmation that the page names. */
function typed(machine: Machine, line: string): Promise<Output> {
  const words = line.split(' ')
  if (words[0] === 'apt') return machine.online(...words)
  return machine.run('sh', '-ec', line.startsWith('xdp apply') ? `${line} --auto-approve; xdp confirm` : line)
}

describe.each(RELEASES)('Debian $release', ({ release, boots }) => {
  let lab: Lab
  let machine: Machine | string = 'not made'

  beforeAll(async () => {
    lab = new Lab([ETH0])
    machine = await machineWithDeb('/srv/admin/xdp-as-code_0.1.0_amd64.deb', await emptyRoot(release), { lab, boots })
    if (typeof machine === 'string') return
    for (const path of ['/etc/resolv.conf', '/etc/hosts']) machine.write(path, readFileSync(path, 'utf8'))
    // Nobody answers questions here.
    machine.write('/etc/apt/apt.conf.d/50test', 'APT::Get::Assume-Yes "true";\nDpkg::Use-Pty "false";\n')
    machine.write('/usr/local/bin/editor', EDITOR, 0o755)
    if (boots) await machine.boot()
  })
  afterAll(async () => {
    if (typeof machine !== 'string') await machine.close()
    lab.close()
  })

  test('each line does what the page says, and packets of the listed address are dropped', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const lines = linesOf('Debian and its family')
    expect(lines.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      ...['apt update', 'apt install', 'editor /etc/xdp/xdp.yaml', 'xdp plan', 'xdp apply', 'systemctl enable'],
    ])
    expect((await machine.run('sh', '-c', 'command -v xdp bpftool ip node')).stdout).toBe('')
    for (const line of lines.filter((one) => boots || !one.startsWith('systemctl'))) {
      const { exitCode, stdout, stderr } = await typed(machine, line)
      if (line === 'apt update' && UNREACHABLE.test(stdout + stderr))
        return context.skip('Debian cannot be reached from here')
      expect([line, exitCode, stderr]).toEqual([line, 0, stderr])
    }
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(0)
    expect(await lab.ping(HOST, { source: OTHER, count: 1 })).toBe(1)
    expect(JSON.parse(await machine.ok('xdp', 'plan', '--json'))).toMatchObject({ changes: [] })
    if (boots) expect(await machine.ok('systemctl', 'is-active', 'xdp', 'xdp-watch')).toBe('active\nactive\n')
    expect(await machine.ok('xdp', 'doctor')).toContain(' 0 fail')
  })

  test('apt purge leaves nothing', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    if ((await machine.run('xdp', '--version')).exitCode !== 0) return context.skip('not installed')
    await machine.ok('apt', 'purge', 'xdp-as-code')
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(1)
    const left = 'ls -d /etc/xdp /var/lib/xdp /var/cache/xdp /usr/bin/xdp /sys/fs/bpf/xdp-as-code'
    expect((await machine.run('sh', '-c', `${left} 2>/dev/null`)).stdout).toBe('')
  })
})
