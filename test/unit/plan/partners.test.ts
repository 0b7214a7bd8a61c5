// Peers without a connection that lasts, and addresses of this host in blocklists: shown, never refused.

import { describe, expect, test } from 'vitest'
import { directiveServers, listedServers } from '../../../src/kernel/host/time-servers.ts'
import { packetFrom } from '../../../src/kernel/live/cuts.ts'
import type { Cut, Partner } from '../../../src/model/contact.ts'
import { formatAddress } from '../../../src/model/text.ts'
import { contactText, guardCuts, withCuts } from '../../../src/plan/cuts.ts'
import { partnersOf } from '../../../src/plan/partners.ts'
import { plan } from '../../../src/plan/plan.ts'
import { warnOwnAddresses } from '../../../src/plan/warn-own-addresses.ts'
import { HEAD, loadText } from '../../support/config.ts'
import { address, EGRESS } from '../../support/services.ts'
import { link, live, PROGRAM } from '../../support/states.ts'

const SERVICES = `services:
  web:
    vip: 192.0.2.10
    port: 443
    protocol: tcp
    forwarding: nat
    backends: [10.0.0.11, 10.0.0.12, "10.0.1.13"]
    health: { type: tcp }
  dns:
    vip: 192.0.2.10
    port: 53
    protocol: udp
    forwarding: nat
    backends: [10.0.0.11]
    health: { type: dns, query: example.org }
`

const shown = ({ kind, peer, peerPort, localPort, protocol, service, hasSocket }: Partner): string =>
  [
    kind,
    `${formatAddress(peer.family, peer.words)}:${peerPort ?? '-'}→${localPort ?? '-'}`,
    protocol,
    service ?? '-',
    hasSocket,
  ].join(' ')

async function partners() {
  const { desired } = await loadText(HEAD + SERVICES)
  const now = live({
    links: [link('eth0')],
    nextHops: new Map([
      ['10.0.0.11', EGRESS],
      ['10.0.0.12', undefined],
      ['10.0.1.13', EGRESS],
    ]),
    gateways: new Map([['10.0.1.13', '10.0.0.254']]),
  })
  const servers = [
    { address: address('192.0.2.123'), fromNtpPort: true },
    { address: address('2001:db8::123'), fromNtpPort: false },
  ]
  return partnersOf(desired, now, servers)
}

test('are time servers, resolved next hops, and backends that are checked', async () => {
  expect((await partners()).map(shown)).toEqual([
    'time-server 192.0.2.123:123→123 udp - false',
    'time-server 2001:db8::123:123→32768 udp - true',
    'next-hop 10.0.0.11:-→- icmp - false',
    'next-hop 10.0.0.254:-→- icmp - false',
    'backend 10.0.0.11:53→32768 udp dns true',
    'backend 10.0.0.11:443→32768 tcp web true',
    'backend 10.0.0.12:443→32768 tcp web true',
    'backend 10.0.1.13:443→32768 tcp web true',
  ])
})

test('have a packet each, and are shown without being guarded', async () => {
  const found = await partners()
  expect(found.map(packetFrom).map(({ protocol, sourcePort }) => `${protocol} ${sourcePort ?? '-'}`)).toEqual([
    ...['17 123', '17 123', 'icmp -', 'icmp -', '17 53', '6 443', '6 443', '6 443'],
  ])
  const verdict = { reason: 'blocklist', list: 'blocklist', service: undefined }
  const cut = found.map((contact): Cut => {
    const sides = { before: { ...verdict, passes: true }, after: { ...verdict, passes: false } }
    return { contact, interface: 'eth0', owner: undefined, guarded: undefined, ...sides }
  })
  expect(cut.map(contactText)).toEqual(
    expect.arrayContaining([
      'the time server 192.0.2.123',
      'the next hop 10.0.0.254 of backends',
      'health checks of backend 10.0.0.11:53 of service dns',
    ]),
  )
  const cuts = { connections: 0, omitted: 0, cut }
  expect(guardCuts(cuts, { all: false, kinds: [], prefixes: [] }, undefined)).toEqual([])
  const { desired } = await loadText(`${HEAD}blocklist: [10.0.0.0/8]\n`)
  const made = withCuts(plan(desired, live({ links: [link('eth0')] }), PROGRAM), cuts)
  expect(made.changes.find(({ key }) => key === 'list:blocklist')).toMatchObject({ impact: 'cuts', cuts: 0 })
})

test('time servers are read from the configs of chrony, ntpd and systemd-timesyncd', () => {
  const chrony = '# server 192.0.2.1\nserver 192.0.2.2 iburst\n pool ntp.example.org\nPeer 2001:db8::5 key 1\nserver\n'
  expect(directiveServers(chrony)).toEqual(['192.0.2.2', 'ntp.example.org', '2001:db8::5'])
  expect(directiveServers('server -4 192.0.2.9\nrestrict 192.0.2.7\n')).toEqual(['192.0.2.9'])
  const timesyncd =
    '[Time]\n#NTP=192.0.2.1\nNTP=192.0.2.2  2001:db8::5\nFallbackNTP=ntp.example.org\nRootDistanceMaxSec=5\n'
  expect(listedServers(timesyncd)).toEqual(['192.0.2.2', '2001:db8::5', 'ntp.example.org'])
})

describe('an address of this host in a blocklist', () => {
  const own = [
    { interface: 'eth0', address: address('192.0.2.1') },
    { interface: 'eth0', address: address('192.0.2.7') },
    { interface: 'eth1', address: address('10.0.0.1') },
  ]
  async function warned(lists: string, live0 = 'blocklist: []'): Promise<string[]> {
    const { desired } = await loadText(`${HEAD + lists}\n`)
    const { desired: old } = await loadText(`${HEAD + live0}\n`)
    const now = live({ links: [link('eth0')], state: { ...old.state, program: PROGRAM } })
    const warnings = warnOwnAddresses(own, plan(desired, now, PROGRAM), desired.provenance)
    return warnings.map(({ code, message }) => `${code} ${message.replace(/ at .*xdp\.yaml:/, ' at xdp.yaml:')}`)
  }

  test('is a warning with its line', async () => {
    expect(await warned('blocklist:\n  - 192.0.2.0/24')).toEqual([
      'W251 list blocklist blocks 192.0.2.1 (and 1 other), an address of this host on eth0 by 192.0.2.0/24 at xdp.yaml:4: hosts of its network may be blocked too',
    ])
  })

  test('is none for other interfaces, ports and allowlists, nor once it is live', async () => {
    expect(await warned('blocklist: [10.0.0.0/8]')).toEqual([])
    expect(await warned('blocklist: [{ cidr: 192.0.2.0/24, protocol: tcp, destination_port: 80 }]')).toEqual([])
    expect(await warned('allowlist: [192.0.2.0/24]')).toEqual([])
    expect(await warned('blocklist: [192.0.2.0/24, 203.0.113.1]', 'blocklist: [192.0.2.0/24]')).toEqual([])
  })
})
