// The script of `xdp doctor --backend-script`, run in the namespace of a backend: it finds each fault of the setup, and
// is content with what docs/balancer.md says.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

const OBJECT = fileURLToPath(new URL('../../build/test/backend.bpf.o', import.meta.url))
const VIP = '203.0.113.10'
const VIP6 = '2001:db8:f::10'
const CONFIG = `version: 1
interfaces: { eth0: {} }
services:
  direct: { vip: ${VIP}, port: 80, protocol: tcp, forwarding: dsr, backends: [192.0.2.2, 192.0.2.9] }
  direct6: { vip: "${VIP6}", port: any, protocol: udp, forwarding: dsr, backends: ["2001:db8::2"] }
  wrapped: { vip: ${VIP}, port: 81, protocol: tcp, forwarding: gue, backends: [192.0.2.2] }
  elsewhere: { vip: ${VIP}, port: 82, protocol: tcp, forwarding: ipip, backends: [192.0.2.9] }
  plain: { vip: 203.0.113.11, port: 80, protocol: tcp, forwarding: nat, backends: [{ address: 192.0.2.2, port: 8080 }] }
  full: { vip: 203.0.113.12, port: 80, protocol: tcp, forwarding: nat, snat: true, snat_pool: [192.0.2.1], backends: [192.0.2.2] }
`

let lab: Lab
let device: string
const servers: ChildProcess[] = []
const scripts = new Map<string, string>()

/** Runs lines of shell on the backend. */
const backend = (...lines: readonly string[]): string => lab.in(lab.peer, 'sh', '-ec', lines.join('\n'))

/** Runs the script; `tools`: a directory that comes first in PATH. Returns its exit status, and its levels by id. */
function examine(service: string, tools = ''): { status: number | null; levels: Record<string, string>; text: string } {
  const words = [`--net=/run/netns/${lab.peer}`, 'sh', '-s']
  const { status, stdout, stderr } = spawnSync('nsenter', words, {
    input: scripts.get(service) as string,
    encoding: 'utf8',
    env: { PATH: `${tools}:/usr/sbin:/usr/bin:/sbin:/bin` },
  })
  expect(stderr).toBe('')
  const rows = [...stdout.matchAll(/^(ok|warn|fail) +backend\.(\S+)/gm)]
  return { status, levels: Object.fromEntries(rows.map(([, level, id]) => [id, level])), text: stdout }
}

beforeAll(async () => {
  lab = new Lab([ETH0])
  device = lab.peerEnd('eth0')
  lab.write('xdp.yaml', CONFIG)
  for (const name of ['direct', 'direct6', 'wrapped', 'elsewhere', 'plain', 'full'])
    scripts.set(name, await lab.ok('doctor', '--backend-script', name))
})
afterAll(() => {
  for (const server of servers) server.kill('SIGKILL')
  lab?.close()
})

describe('dsr', () => {
  test('a machine without the VIP', () => {
    const { status, levels, text } = examine('direct')
    expect(status).toBe(1)
    expect(levels).toMatchObject({ address: 'ok', vip: 'fail', listener: 'warn' })
    expect(text).toContain('this machine is the backend 192.0.2.2\n')
    expect(text).toContain(`fix: ip addr add ${VIP}/32 dev lo\n`)
  })

  test('the VIP on an interface that announces it', () => {
    backend(`ip addr add ${VIP}/32 dev ${device}`)
    const { status, levels, text } = examine('direct')
    expect([status, levels['vip']]).toEqual([1, 'fail'])
    expect(text).toContain(`the VIP ${VIP} is on ${device}, which announces it to neighbours`)
    backend(`ip addr del ${VIP}/32 dev ${device}`, `ip addr add ${VIP}/32 dev lo`)
    expect(examine('direct').levels['vip']).toBe('ok')
  })

  test('ARP for the VIP', () => {
    expect(examine('direct')).toMatchObject({ status: 1, levels: { arp_ignore: 'fail', arp_announce: 'fail' } })
    backend(`sysctl -qw net.ipv4.conf.${device}.arp_ignore=1 net.ipv4.conf.all.arp_announce=2`)
    expect(examine('direct')).toMatchObject({ status: 0, levels: { arp_ignore: 'ok', arp_announce: 'ok' } })
  })

  test('a strict rp_filter, where the route to clients leads elsewhere', () => {
    backend(
      'ip link add away type veth peer name far',
      'ip addr add 198.51.100.1/24 dev away',
      'ip link set away up',
      'ip link set far up',
      'ip route add default dev away',
      'sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.all.arp_ignore=1',
    )
    const { status, levels, text } = examine('direct')
    expect([status, levels['rp_filter']]).toEqual([1, 'fail'])
    expect(text).toContain(`fix: sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${device}.rp_filter=0\n`)
    backend('sysctl -qw net.ipv4.conf.all.rp_filter=2')
    expect(examine('direct').levels['rp_filter']).toBe('ok')
    backend('sysctl -qw net.ipv4.conf.all.rp_filter=0', 'ip route del default dev away')
  })

  test('a server on the VIP or on all addresses', async () => {
    expect(examine('direct').levels['listener']).toBe('warn')
    const code = "require('node:net').createServer().listen(80, '::', () => console.log('ready'))"
    const server = spawn('nsenter', [`--net=/run/netns/${lab.peer}`, process.execPath, '-e', code])
    servers.push(server)
    await once(server.stdout, 'data')
    const { status, levels, text } = examine('direct')
    expect(status).toBe(0)
    expect(new Set(Object.values(levels))).toEqual(new Set(['ok']))
    expect(text).toMatch(/\n6 ok, 0 warn, 0 fail\n$/)
  })

  test('of IPv6 needs the VIP alone', () => {
    expect(examine('direct6')).toMatchObject({ status: 1, levels: { address: 'ok', vip: 'fail' } })
    backend(`ip addr add ${VIP6}/128 dev lo`)
    const { status, levels } = examine('direct6')
    expect([status, levels]).toEqual([0, { address: 'ok', vip: 'ok' }])
  })
})

describe('tunnels', () => {
  test('a machine without decapsulation, and one whose XDP program may do it', () => {
    expect(examine('wrapped')).toMatchObject({ status: 1, levels: { vip: 'ok', tunnel: 'fail', gue: 'fail' } })
    const pin = `${lab.bpffs}/test-unwrap`
    backend(`bpftool prog loadall ${OBJECT} ${pin}`, `bpftool net attach xdpdrv pinned ${pin}/unwrap dev ${device}`)
    const { status, levels, text } = examine('wrapped')
    expect([status, levels['tunnel'], levels['gue']]).toEqual([0, 'warn', 'warn'])
    expect(text).toContain('an XDP program on this machine may do it')
    backend(`bpftool net detach xdpdrv dev ${device}`)
  })

  test('devices and a port that decapsulate, and rp_filter of such a device', () => {
    // This kernel may lack both, so ip answers for them.
    mkdirSync(`${lab.directory}/tools`, { recursive: true })
    const fake = lab.write(
      'tools/ip',
      `#!/bin/sh
case "$*" in
'-o link show up type ipip') echo '9: ${device}@NONE: <NOARP,UP,LOWER_UP> mtu 1480' ;;
'-4 fou show') echo 'port 6080 gue' ;;
*) exec /sbin/ip "$@" ;;
esac
`,
    )
    chmodSync(fake, 0o755)
    const { status, levels } = examine('wrapped', `${lab.directory}/tools`)
    expect(status).toBe(0)
    expect(levels).toMatchObject({ tunnel: 'ok', gue: 'ok', rp_filter: 'ok' })
  })

  test('a machine that is no backend', () => {
    const { levels, text } = examine('elsewhere')
    expect(levels).toMatchObject({ address: 'warn', tunnel: 'fail' })
    expect(text).toContain('this machine has no address of a backend of elsewhere')
  })
})

test('nat needs a route for answers, full NAT nothing', () => {
  expect(examine('plain')).toMatchObject({ levels: { address: 'ok', route: 'warn', listener: 'warn' } })
  backend('ip route add default via 192.0.2.1')
  const { status, levels, text } = examine('plain')
  expect([status, levels['route']]).toEqual([0, 'ok'])
  expect(text).toContain('answers to clients leave through 192.0.2.1, which must be the balancer')
  expect(text).toContain('no server listens on 192.0.2.2, tcp port 8080')
  expect(examine('full')).toMatchObject({ status: 0, levels: { address: 'ok', setup: 'ok', listener: 'ok' } })
})

test('an unknown service is an error of usage, and so is --json', async () => {
  const unknown = await lab.xdp('doctor', '--backend-script', 'dirct')
  expect([unknown.exitCode, unknown.stdout, unknown.stderr]).toEqual([
    64,
    '',
    expect.stringContaining('did you mean direct?'),
  ])
  const json = await lab.xdp('doctor', '--backend-script', 'direct', '--json')
  expect([json.exitCode, JSON.parse(json.stdout).error.code]).toEqual([64, 'E300'])
})
