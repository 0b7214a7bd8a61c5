// Interfaces without an Ethernet header: a tun is filtered by the packets that it carries, and other link layers are
// refused.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { seal } from '../support/checksums.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { ethernet, icmp, icmpv6, ipv4, ipv6, type Layer, packet, raw } from '../support/packets.ts'
import { Tun } from '../support/tun.ts'

let lab: Lab
let tun: Tun

beforeEach(async () => {
  lab = new Lab([ETH0])
  tun = await Tun.open(lab.host, 'tun0')
  for (const address of ['203.0.113.1/24', '2001:db8:9::1/64'])
    lab.in(lab.host, 'ip', 'addr', 'add', address, 'dev', 'tun0')
  lab.in(lab.host, 'ip', 'link', 'set', 'tun0', 'up')
})
afterEach(() => {
  tun?.close()
  lab.close()
})

const ETHERNET = 14
const bare = (...layers: readonly Layer[]): Uint8Array => seal(packet(ethernet(), ...layers)).subarray(ETHERNET)
const ping4 = (source: string): Uint8Array => bare(ipv4({ source, destination: '203.0.113.1' }), icmp(8), raw(8))
const ping6 = (source: string): Uint8Array => bare(ipv6({ source, destination: '2001:db8:9::1' }), icmpv6(128), raw(8))

/** Destinations of the echo replies so far, as hex: the addresses of their pings. */
const answered = (): string[] =>
  tun.received.flatMap((text) => {
    if (text.startsWith('45') && text.slice(40, 42) === '00') return [text.slice(32, 40)]
    return text.startsWith('60') && text.slice(80, 82) === '81' ? [text.slice(48, 80)] : []
  })

const counts = async (): Promise<unknown> => {
  const { interfaces } = JSON.parse(await lab.ok('status', '--json'))
  return interfaces.find(({ name }: { name: string }) => name === 'tun0')?.reasons
}

const CONFIG = `version: 1
interfaces: { tun0: { mode: generic } }
blocklist: [203.0.113.2, "2001:db8:9::2"]
`

describe('a tun', () => {
  test('is filtered by the addresses of its packets, and verified in their shape', async () => {
    lab.write('xdp.yaml', CONFIG)
    expect(await lab.ok('apply', '--auto-approve')).toMatch(/[Vv]erified .*\b(\d+) of \1\b/)
    for (const ping of [ping4('203.0.113.2'), ping6('2001:db8:9::2'), ping4('203.0.113.3'), ping6('2001:db8:9::3')])
      tun.send(ping)
    // Replies are in the order of the pings.
    await expect.poll(answered).toEqual(['cb007103', '20010db8000900000000000000000003'])
    expect(await counts()).toMatchObject({ blocklist: { packets: 2 }, 'default-pass': { packets: 2 } })
    const why = await lab.ok('why', '203.0.113.2', '--interface', 'tun0')
    expect(why).toMatch(/live on tun0 +drop +blocklist.*\(proven by a packet\)/)
    expect(await lab.ok('why', '203.0.113.3')).toMatch(/live +pass +.*\(proven by a packet\)/)
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
    await lab.ok('destroy', '--auto-approve')
    tun.send(ping4('203.0.113.2'))
    await expect.poll(() => answered().at(-1)).toBe('cb007102')
  })

  test('drops by default what is not allowed, beside an interface with Ethernet frames', async () => {
    lab.write(
      'xdp.yaml',
      'version: 1\ninterfaces: { tun0: { mode: generic }, eth0: {} }\npolicy: { default: drop }\nallowlist: [203.0.113.3, 192.0.2.0/24]\n',
    )
    await lab.ok('apply', '--auto-approve')
    for (const ping of [ping4('203.0.113.2'), ping6('2001:db8:9::2'), ping4('203.0.113.3')]) tun.send(ping)
    await expect.poll(answered).toEqual(['cb007103'])
    expect(await counts()).toMatchObject({ allowlist: { packets: 1 }, 'default-drop': { packets: 2 } })
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(1)
  })

  test('keeps its verdict when its entry says Ethernet: that is drift, which apply repairs', async () => {
    lab.write('xdp.yaml', CONFIG)
    await lab.ok('apply', '--auto-approve')
    const [{ ifindex }] = JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show', 'dev', 'tun0')) as [
      { ifindex: number },
    ]
    const index = lab.pins().find((pin) => pin.endsWith('/interface_index'))
    const word = (number: number): string[] => [`${number & 255}`, `${number >> 8}`, '0', '0']
    lab.in(
      ...([lab.host, 'bpftool', 'map', 'update', 'pinned', `${lab.bpffs}/xdp-as-code/${index}`] as const),
      ...['key', ...word(ifindex % 256), 'value', ...word(ifindex), ...word(1)],
    )
    expect(await lab.ok('plan')).toContain('its record was changed')
    await lab.ok('apply', '--auto-approve')
    tun.send(ping4('203.0.113.2'))
    tun.send(ping4('203.0.113.3'))
    await expect.poll(answered).toEqual(['cb007103'])
  })

  test('is filtered behind tags that its writer announces, which the kernel removes', async () => {
    const named = await Tun.open(lab.host, 'tun1', { hasInformation: true })
    try {
      lab.in(lab.host, 'ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'tun1')
      lab.in(lab.host, 'ip', 'link', 'set', 'tun1', 'up')
      lab.write('xdp.yaml', 'version: 1\ninterfaces: { tun1: { mode: generic } }\nblocklist: [198.51.100.2]\n')
      await lab.ok('apply', '--auto-approve')
      const tag = [0x81, 0x00]
      const [ip, priority] = [
        [0x08, 0x00],
        [0x60, 0x00],
      ] as const
      for (const source of ['198.51.100.2', '198.51.100.3']) {
        const ping = bare(ipv4({ source, destination: '198.51.100.1' }), icmp(8), raw(8))
        named.send(Uint8Array.from([0, 0, ...tag, 0, 0, ...ip, ...ping]))
        named.send(Uint8Array.from([0, 0, ...tag, ...priority, ...tag, 0, 0, ...ip, ...ping]))
      }
      const replied = (): string[] =>
        named.received.filter((text) => text.startsWith('0000080045')).map((text) => text.slice(40, 48))
      await expect.poll(replied).toEqual(['c6336403', 'c6336403'])
    } finally {
      named.close()
    }
  })

  test('is not balanced: services need `roles: [filter]`', async () => {
    const services =
      'services:\n  web: { vip: 192.0.2.80, port: 80, protocol: tcp, forwarding: dsr, backends: [192.0.2.2] }\n'
    const write = (roles: string): string =>
      lab.write(
        'xdp.yaml',
        `version: 1\ninterfaces: { tun0: { mode: generic${roles} }, eth0: { mode: generic } }\n${services}`,
      )
    write('')
    const refused = await lab.xdp('plan')
    expect(refused.exitCode).toBe(4)
    expect(refused.stderr).toMatch(/xdp\.yaml:2:\d+: error\[E214 .*hint: write `roles: \[filter\]` under tun0/s)
    write(', roles: [filter]')
    await lab.ok('apply', '--auto-approve')
    expect(
      await lab.ok(
        'why',
        '203.0.113.3',
        '--interface',
        'tun0',
        '--destination',
        '192.0.2.80',
        '--protocol',
        'tcp',
        '--destination-port',
        '80',
      ),
    ).toMatch(/live on tun0 +pass +default-pass.*\(proven by a packet\)/)
  })
})

test('a link layer that the filter does not know is refused before anything is changed', async () => {
  lab.in(lab.host, 'ip', 'link', 'add', 'odd0', 'type', 'vxlan', 'external', 'gpe', 'dstport', '4790')
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { odd0: { mode: generic } }\nblocklist: [203.0.113.2]\n')
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(exitCode).toBe(69)
  expect(stderr).toMatch(/error\[E213 .*odd0 is a vxlan device with link layer none/)
  expect(lab.pins()).toEqual([])
  expect((await lab.xdp('doctor')).stdout).toContain('the filter cannot read its packets')
})
