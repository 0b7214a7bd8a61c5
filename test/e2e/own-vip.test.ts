// A balancer that is the gateway of its backends: which answers get lost, and that plan, why and the docs say so.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, vipOf } from '../support/balance.ts'

const [DIRECT, PLAIN, FAR, SOLO] = [vipOf(10), vipOf(11), vipOf(12), vipOf(13)] as const
let lab: BalanceLab

const config = (more = ''): string => `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {} }
services:
  direct: { vip: ${DIRECT}, port: 80, protocol: tcp, forwarding: dsr, backends: [${lab.address(1)}] }
  plain: { vip: ${PLAIN}, port: 80, protocol: tcp, forwarding: nat, backends: [${lab.address(1)}, ${lab.address(2)}] }
  solo: { vip: ${SOLO}, port: 80, protocol: tcp, forwarding: nat, backends: [${lab.address(1, 2)}] }
${more}`

const ask = (netns: string, vip: string): string =>
  lab.in(netns, 'sh', '-c', `curl -sS -m 1 http://${vip}/ 2>/dev/null || echo lost`).trim()
const codes = async (): Promise<string[]> => {
  const { warnings } = JSON.parse(await lab.ok('plan', '--json'))
  return warnings.map(({ code }: { code: string }) => code).filter((code: string) => ['W229', 'W230'].includes(code))
}

beforeAll(async () => {
  lab = await BalanceLab.open(2)
  lab.holdVips(DIRECT)
  lab.write('xdp.yaml', config())
})
afterAll(() => lab.close())

test('answers from a VIP that the gateway has are lost, unless it accepts them', async () => {
  lab.script(lab.host, `ip addr add ${DIRECT}/32 dev lo`)
  expect(await codes()).toEqual(['W229', 'W230'])
  await lab.ok('apply', '--auto-approve')
  expect(ask(lab.peer, DIRECT)).toBe('lost')
  const why = await lab.ok('why', '192.0.2.2', '--destination', DIRECT, '--destination-port', '80', '--protocol', 'tcp')
  expect(why).toContain('sysctl -w net.ipv4.conf.eth1.accept_local=1')
  await lab.ok('destroy', '--auto-approve')
  lab.script(lab.host, 'sysctl -qw net.ipv4.conf.eth1.accept_local=1')
  expect(await codes()).toEqual(['W230'])
  await lab.ok('apply', '--auto-approve')
  expect(ask(lab.peer, DIRECT)).toBe('b1')
  lab.script(lab.host, 'sysctl -qw net.ipv4.conf.eth1.accept_local=0', `ip addr del ${DIRECT}/32 dev lo`)
  expect(ask(lab.peer, DIRECT)).toBe('b1')
})

test('a backend gets no answer from its own VIP, and other clients do', async () => {
  expect(ask(lab.peer, SOLO)).toBe('b1')
  const [own, other] = lab.backends.map(({ netns }) => netns) as [string, string]
  expect(ask(own, SOLO)).toBe('lost')
  // Its answer is routed through the balancer.
  expect(ask(other, SOLO)).toBe('b1')
  const words = ['--destination', SOLO, '--destination-port', '80', '--protocol', 'tcp']
  const { advice } = JSON.parse(await lab.ok('why', lab.address(1, 2), ...words, '--json'))
  expect(advice).toEqual([expect.stringContaining('snat_pool')])
  expect(JSON.parse(await lab.ok('why', '192.0.2.2', ...words, '--json')).advice).toEqual([])
})

test('a backend behind a gateway is refused for dsr, and the live policy stays', async () => {
  lab.script(lab.host, `ip route add 10.9.9.9/32 via ${lab.address(2)}`)
  const far = (forwarding: string): string =>
    config(`  far: { vip: ${FAR}, port: 80, protocol: tcp, forwarding: ${forwarding}, backends: [10.9.9.9] }\n`)
  lab.write('xdp.yaml', far('dsr'))
  const refused = await lab.xdp('apply', '--auto-approve')
  expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining('E220')])
  expect(refused.stderr).toContain(`behind the gateway ${lab.address(2)}`)
  expect(ask(lab.peer, PLAIN)).toMatch(/^b[12]$/)
  lab.write('xdp.yaml', far('ipip'))
  await lab.ok('apply', '--auto-approve')
})
