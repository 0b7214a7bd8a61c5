// Packets for entries with `socket: none`, judged beside real sockets on the loopback device.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DataPlane } from '../support/bpf.ts'
import { block, type Entry as ListEntry, policy, scope } from '../support/lists.ts'
import * as p from '../support/packets.ts'

const { SYN, ACK, RST, FIN } = p
const BLOCKED = 'blocklist'
const PASSES = 'default-pass'

let plane: DataPlane
let server: Server
let client: Socket
let near: number
let far: number

beforeAll(async () => {
  plane = await DataPlane.open()
  server = createServer((socket) => socket.on('error', () => undefined))
  await once(server.listen(0, '::'), 'listening')
  near = (server.address() as AddressInfo).port
  client = connect(near, '127.0.0.1')
  await once(client, 'connect')
  far = client.localPort as number
})
afterAll(() => {
  client.destroy()
  server.close()
  plane.close()
})

/** A free port of the client's side, and one of a server. */
const [ODD, CLOSED] = [7, 9]

const load = (...entries: readonly ListEntry[]) => plane.loadState(policy('pass', block('stray', ...entries)))
const stray = { ...scope(6), socket: 'none' } as const
const EVERYWHERE = '0.0.0.0/0 ::/0'

const segment = (source: number, destination: number, flags: number): p.Layer[] => [
  p.ipv4({ source: '127.0.0.1', destination: '127.0.0.1' }),
  p.tcp({ source, destination, flags, sequence: 1, acknowledged: 1 }),
]
const reasonsOf = async (...frames: readonly Uint8Array[]): Promise<(string | undefined)[]> =>
  (await plane.run(frames.map((frame) => ({ frame })))).map(({ explanation }) => explanation?.reason)

/** Each of the packets but those that open a connection. */
const FLAGS = [ACK, RST, SYN | ACK, FIN, FIN | ACK, RST | ACK, 0x18, SYN | FIN, SYN | RST, 0]
const all = (reason: string): string[] => FLAGS.map(() => reason)

test('packets of both ends of a connection have a socket, and those beside it have none, whatever their flags', async () => {
  await load([EVERYWHERE, stray])
  const of = (source: number, destination: number) =>
    reasonsOf(...FLAGS.map((flags) => p.packet(p.ethernet(), ...segment(source, destination, flags))))
  expect(await of(far, near)).toEqual(all(PASSES))
  expect(await of(near, far)).toEqual(all(PASSES))
  // To a listener, to no socket at all, and to a connection from elsewhere.
  expect(await of(ODD, near)).toEqual(all(BLOCKED))
  expect(await of(far, CLOSED)).toEqual(all(BLOCKED))
  expect(await of(near, ODD)).toEqual(all(BLOCKED))
})

test('the question does not depend on tags, options and families, and does not arise for SYNs, fragments and groups', async () => {
  await load([EVERYWHERE, stray])
  const [tcp4, tcp6] = [ACK, ACK].map((flags) => p.tcp({ source: ODD, destination: near, flags })) as [p.Layer, p.Layer]
  const [ip4, ip6] = [
    (fields: Parameters<typeof p.ipv4>[0] = {}) => p.ipv4({ source: '127.0.0.1', destination: '127.0.0.1', ...fields }),
    (source = '::1') => p.ipv6({ source, destination: '::1' }),
  ] as const
  expect(
    await reasonsOf(
      p.packet(p.ethernet(), p.vlan(5), ip4(), tcp4),
      p.packet(p.ethernet(), p.vlan(5), p.vlan(6), p.vlan(7), ip4({ options: 8 }), tcp4),
      p.packet(p.ethernet(), ip6(), tcp6),
      p.packet(p.ethernet(), ip6(), p.destinationOptions({ size: 8 }), tcp6),
    ),
  ).toEqual([BLOCKED, BLOCKED, BLOCKED, BLOCKED])
  expect(
    await reasonsOf(
      p.packet(p.ethernet(), ip4(), p.tcp({ source: ODD, destination: near, flags: SYN })),
      p.packet(p.ethernet(), ip6(), p.tcp({ source: ODD, destination: CLOSED, flags: SYN })),
      p.packet(p.ethernet(), ip4({ more: true }), tcp4),
      p.packet(p.ethernet(), ip4({ offset: 8 }), tcp4),
      p.packet(p.ethernet(), ip6(), p.fragment({ more: true }), tcp6),
      p.packet(p.ethernet(), ip6('fe80::1'), tcp6),
      p.packet(p.ethernet({ destination: '01:00:5e:00:00:01' }), ip4(), tcp4),
      p.packet(p.ethernet(), ip4(), p.udp({ source: ODD, destination: near })),
    ),
  ).toEqual(Array(8).fill(PASSES))
})

test('ports limit the entry, and other entries count beside it, each once', async () => {
  const source = '127.0.0.1'
  const ports = { ...scope(6, { destination: [CLOSED, near] }), socket: 'none' } as const
  await plane.loadState(
    policy(
      'pass',
      block('a', [source, ports]),
      block('b', [source, scope(6)]),
      block('c', [source, ports], [source, stray]),
    ),
  )
  const run = async (to: number, from: number) =>
    (await plane.run([{ frame: p.packet(p.ethernet(), ...segment(from, to, ACK)) }]))[0]?.explanation
  expect(await run(near, far)).toMatchObject({ reason: BLOCKED, list: 1 })
  expect(await run(near, ODD)).toMatchObject({ reason: BLOCKED, list: 0 })
  expect(await run(ODD, far)).toMatchObject({ reason: BLOCKED, list: 1 })
  await plane.reset(1, [0, 1, 2])
  await plane.attachTestRuns(1)
  await plane.run(
    [near, near, ODD].map((to, i) => ({ frame: p.packet(p.ethernet(), ...segment(i === 0 ? far : 11, to, ACK)) })),
    'filter',
  )
  await plane.attachTestRuns(0)
  expect((await plane.lists([0, 1, 2])).map(({ packets }) => packets)).toEqual([1, 3, 2])
})
