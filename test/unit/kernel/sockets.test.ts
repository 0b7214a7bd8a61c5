// The tables of sockets as the kernel prints them: connections in both families, their direction, and the session.

import { expect, test } from 'vitest'
import { resolversIn } from '../../../src/kernel/host/contacts.ts'
import { endsOf } from '../../../src/kernel/host/processes.ts'
import { connectionsOf } from '../../../src/kernel/host/sockets.ts'
import { formatAddress } from '../../../src/model/text.ts'

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const row = (local: string, peer: string, state: string, inode: number): string =>
  `   0: ${local} ${peer} ${state} 00000000:00000000 02:000AF5F8 00000000     0        0 ${inode} 2 0000000000000000 20 4 31 10 -1\n`

const TCP = [
  row('00000000:0016', '00000000:0000', '0A', 11),
  row('0100630A:0016', '0200630A:A0E0', '01', 12),
  row('0100630A:0016', '0300630A:A0E1', '03', 0),
  row('0100630A:C350', '0900630A:01BB', '01', 13),
  row('0100007F:0016', '0100007F:A0E2', '01', 14),
  row('0100630A:0016', '0400630A:A0E3', '06', 0),
]
const MAPPED = '0000000000000000FFFF00000100630A'
const TCP6 = [
  row(`${MAPPED}:0016`, '0000000000000000FFFF00000500630A:A0E4', '01', 15),
  row('B80D0120000000000000000001000000:0016', 'B80D0120000000000000000002000000:A0E5', '01', 16),
]
const UDP = [row('0100630A:C351', '3500630A:0035', '01', 17), row('00000000:EA61', '00000000:0000', '07', 18)]

const tables = new Map([
  ['tcp', HEAD + TCP.join('')],
  ['tcp6', HEAD + TCP6.join('')],
  ['udp', HEAD + UDP.join('')],
] as const)

const shown = (connection: string | undefined, roaming: readonly number[] = []) =>
  connectionsOf(tables, { connections: endsOf(connection), roaming: new Set(roaming) }).connections.map((one) => {
    const { protocol, peer, peerPort, localPort, isInbound, inode, isSession } = one
    const session = isSession ? ' session' : ''
    const peerText = formatAddress(peer.family, peer.words)
    return `${protocol} ${isInbound ? 'from' : 'to'} ${peerText} ${peerPort} ${localPort} ${inode}${session}`
  })

test('connections are read with their direction, without loopback and closed ones', () => {
  expect(shown(undefined)).toEqual([
    'tcp from 10.99.0.2 41184 22 12',
    'tcp from 10.99.0.3 41185 22 0',
    'tcp to 10.99.0.9 443 50000 13',
    'tcp from 10.99.0.5 41188 22 15',
    'tcp from 2001:db8::2 41189 22 16',
    'udp to 10.99.0.53 53 50001 17',
  ])
})

test('the session is found by both of its ends, and that of mosh by its socket', () => {
  expect(shown('10.99.0.2 41184 10.99.0.1 22')[0]).toBe('tcp from 10.99.0.2 41184 22 12 session')
  expect(shown('10.99.0.2 41184 10.99.0.7 22')[0]).toBe('tcp from 10.99.0.2 41184 22 12')
  expect(shown('10.99.0.8 5000 10.99.0.1 22', [18])).toContain('udp from 10.99.0.8 49152 60001 18 session')
  for (const text of [undefined, '', 'x', '10.99.0.2 41184', 'a b c d', '10.99.0.2 0 10.99.0.1 22']) {
    expect(endsOf(text)).toEqual([])
  }
})

test('more connections than can be judged are counted, those to the SSH port are not left out', () => {
  const many = Array.from({ length: 131_080 }, (_, i) => {
    const port = (1024 + (i % 60_000)).toString(16).toUpperCase().padStart(4, '0')
    return row('0100630A:01BB', `${i.toString(16).toUpperCase().padStart(6, '0')}0B:${port}`, '01', i + 100)
  })
  const text = HEAD + many.join('') + TCP.slice(0, 2).join('')
  const { connections, omitted } = connectionsOf(new Map([['tcp', text]]), { connections: [], roaming: new Set() })
  expect({ kept: connections.length, omitted }).toEqual({ kept: 131_072, omitted: 9 })
  expect(connections[0]).toMatchObject({ localPort: 22, inode: 12 })
})

test('the first three resolvers of resolv.conf count, without those with a zone', () => {
  const text =
    '# nameserver 192.0.2.1\nnameserver 127.0.0.53\n nameserver  2001:db8::53\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\n'
  expect(resolversIn(text).map(({ family, words }) => formatAddress(family, words))).toEqual([
    '127.0.0.53',
    '2001:db8::53',
  ])
})
