// The protection of ports from SYN floods, beside real listeners in a namespace.

import { type ChildProcess, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { synCounterCodec, synStateCodec } from '../../src/abi/generated.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { EMPTY_STATE, type State } from '../../src/model/state.ts'
import { DataPlane, type Outcome } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { allow, block, policy } from '../support/lists.ts'
import { Namespace } from '../support/netns.ts'
import * as p from '../support/packets.ts'

const { SYN, ACK, RST, FIN } = p
const SLOT = 3
const PORT = 443
const HOST4 = '192.0.2.1'
const HOST6 = '2001:db8:ffff::1'

let netns: Namespace
let plane: DataPlane
let server: ChildProcess

/** Listens on all addresses; port 444 takes segments of at most 1,000 bytes, and 445 has a receive buffer of its own. */
const LISTENERS = `
import socket, sys, time
held = []
for port in (443, 444, 445, 446):
    one = socket.socket(socket.AF_INET6)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port == 444: one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    if port == 445: one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    one.bind(('::', port))
    one.listen(64)
    held.append(one)
print('ready', flush=True)
time.sleep(3600)
`

beforeAll(async () => {
  netns = new Namespace([], {})
  for (const address of [`${HOST4}/32`, `${HOST6}/128`]) netns.run('ip', 'addr', 'add', address, 'dev', 'lo')
  netns.run(
    'sysctl',
    '-qw',
    'net.ipv4.tcp_syncookies=2',
    'net.ipv4.tcp_timestamps=2',
    'net.ipv4.tcp_rmem=4096 131072 6291456',
  )
  netns.run('sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0')
  server = await netns.python(LISTENERS)
  plane = await DataPlane.open(netns.name)
})
afterAll(() => {
  plane?.close()
  server?.kill('SIGKILL')
  netns?.close()
})

const guarding = (text: string, base: State = EMPTY_STATE): State => ({
  ...base,
  policy: { ...(base.policy ?? DEFAULT_POLICY), syn_protection: text },
  receiveMax: 0,
})
const ALWAYS = guarding('always 2000 443-445,8000-8099')

/** Options of Linux: MSS 1460, SACK permitted, a timestamp of 0x01020304, window scale 7. */
const LINUX = '020405b40402080a010203040000000001030307'

/** A TCP header with options, behind the fields of packets.tcp. */
function tcp(fields: Parameters<typeof p.tcp>[0], options = ''): p.Layer {
  const bytes = Buffer.from(options, 'hex')
  const inner = p.tcp(fields)
  return {
    protocol: 6,
    build: (payload, next) => {
      const header = inner.build(Buffer.concat([bytes, payload]), next)
      header[12] = ((20 + bytes.length) / 4) << 4
      return header
    },
  }
}

interface Sent {
  readonly source?: string
  readonly options?: string
  readonly port?: number
  readonly flags?: number
  readonly sequence?: number
  readonly acknowledged?: number
  readonly tags?: readonly p.Layer[]
  readonly from?: number
  readonly payload?: number
}

const ip = (source: string, tos = 0): p.Layer =>
  source.includes(':')
    ? p.ipv6({ source, destination: HOST6, trafficClass: tos })
    : p.ipv4({ source, destination: HOST4, tos })

function frameOf(one: Sent): Uint8Array {
  const { source = '198.51.100.7', options = LINUX, port = PORT, flags = SYN, tags = [], from = 40_000 } = one
  const fields = {
    source: from,
    destination: port,
    flags,
    sequence: one.sequence ?? 1000,
    acknowledged: one.acknowledged ?? 0,
  }
  return seal(p.packet(p.ethernet(), ...tags, ip(source), tcp(fields, options), p.raw(one.payload ?? 0)))
}

const reasonOf = async (one: Sent): Promise<string | undefined> =>
  (await plane.run([{ frame: frameOf(one) }]))[0]?.explanation?.reason

/** The fields of an answer. */
function read({ output }: Outcome, tags = 0) {
  const view = new DataView(output.buffer, output.byteOffset, output.length)
  const network = 14 + tags * 4
  const at = network + (view.getUint8(network) >>> 4 === 4 ? 20 : 40)
  const hex = (from: number, to: number): string => Buffer.from(output.subarray(from, to)).toString('hex')
  return {
    macs: hex(0, 12),
    network: hex(network, at),
    ports: [view.getUint16(at), view.getUint16(at + 2)],
    cookie: view.getUint32(at + 4),
    acknowledged: view.getUint32(at + 8),
    flags: view.getUint8(at + 13),
    window: view.getUint16(at + 14),
    options: hex(at + 20, at + (view.getUint8(at + 12) >>> 4) * 4),
    size: output.length - at,
  }
}

const send = async (...all: readonly Sent[]): Promise<Outcome[]> => plane.send(SLOT, all.map(frameOf))

describe('always', () => {
  beforeAll(() => plane.loadState(ALWAYS))

  test.each([
    ['IPv4', '198.51.100.7', 0],
    ['IPv6', '2001:db8::7', 0],
    ['IPv4 behind a tag', '198.51.100.7', 1],
    ['IPv6 behind two tags', '2001:db8::7', 2],
  ] as const)(
    'answers a SYN of %s with a cookie that the listener takes, and with its options',
    async (_, source, tags) => {
      const layers = [p.vlan(7, { type: 0x88a8 }), p.vlan(8)].slice(2 - tags)
      const [answer] = (await send({ source, tags: layers })) as [Outcome]
      expect(answer.verdict).toBe('tx')
      expect(wrongChecksums(answer.output)).toEqual([])
      const found = read(answer, tags)
      expect(found).toMatchObject({
        macs: '020000000001020000000000',
        ports: [PORT, 40_000],
        acknowledged: 1001,
        flags: SYN | ACK,
        size: 40,
      })
      const mss = source.includes(':') ? 65_476 : 65_495
      // The largest segment of lo; SACK and timestamp with its bits: scale 7, SACK; the echo; scale 7 of 6 MiB.
      const [, timestamp = ''] =
        new RegExp(`^0204${mss.toString(16)}0402080a(.{8})0102030401030307$`).exec(found.options) ?? []
      expect(Number.parseInt(timestamp, 16) & 63).toBe(7 | 16)
      const ours = source.includes(':') ? 40 : 20
      expect(found.network.length / 2).toBe(ours)
      // The kernel's own verdict on the acknowledgment.
      const within = { source, tags: layers, flags: ACK, sequence: 1001, options: '' }
      expect(await reasonOf({ ...within, acknowledged: found.cookie + 1 })).toBe('default-pass')
      expect(await reasonOf({ ...within, acknowledged: found.cookie + 100 })).toBe('syn-cookie-invalid')
      expect(await reasonOf({ ...within, acknowledged: found.cookie + 1, from: 40_001 })).toBe('syn-cookie-invalid')
    },
  )

  test('offers only what both sides can keep', async () => {
    const some = async (sent: Sent) => read(((await send(sent)) as [Outcome])[0])
    // Without a timestamp nothing but the size of segments.
    expect(await some({ options: '020405b40402010303070101' })).toMatchObject({ options: '0204ffd7', size: 24 })
    expect(await some({ options: '' })).toMatchObject({ options: '0204ffd7' })
    expect(await some({ port: 444 })).toMatchObject({ options: expect.stringMatching(/^020403e8/) })
    // No scale where the receive buffer bounds the window, and the window is small.
    const bounded = await some({ port: 445 })
    expect(bounded.options).toMatch(/01010101$/)
    expect(bounded.window).toBeLessThanOrEqual(16_384)
    // A timestamp without SACK and scale; a scale beyond the most; an option that leads out of the header.
    expect((await some({ options: '0101080a0102030400000000' })).options).toMatch(
      /^0204ffd70101080a.{8}0102030401010101$/,
    )
    const scaled = await some({ options: '0303ff010101080a0102030400000000' })
    expect(Number.parseInt(scaled.options.slice(16, 24), 16) & 15).toBe(14)
    expect(await some({ options: '08ff0102' })).toMatchObject({ options: '0204ffd7' })
    // ECN as RFC 3168 asks for it, and not as RFC 9768 does.
    expect(await some({ flags: SYN | 0xc0 })).toMatchObject({ flags: SYN | ACK | 0x40 })
    expect(await some({ flags: SYN | 0x40 })).toMatchObject({ flags: SYN | ACK })
  })

  test('leaves alone whatever is not a SYN to a listener, and acknowledgments that it cannot judge', async () => {
    expect(
      await Promise.all(
        [
          { port: 8000 },
          { port: 446 },
          { source: '127.0.0.1' },
          { source: '224.0.0.1' },
          { source: HOST4 },
          { source: '::1' },
          { source: 'ff02::1' },
          { source: HOST6 },
          { flags: SYN | FIN },
          { flags: SYN | RST },
          { flags: SYN | ACK },
          { flags: RST },
          { flags: FIN },
          { flags: RST | ACK },
          { flags: ACK, port: 446 },
          { flags: ACK, port: 8000 },
        ].map(reasonOf),
      ),
    ).toEqual(Array(16).fill('default-pass'))
    const group = p.ethernet({ destination: '01:00:5e:00:00:01' })
    const fragment = p.ipv4({ destination: HOST4, more: true })
    const frames = [
      p.packet(group, ip('198.51.100.7'), tcp({ destination: PORT })),
      p.packet(p.ethernet(), fragment, tcp({ destination: PORT })),
      p.packet(p.ethernet(), p.ipv4({ destination: '203.0.113.5' }), p.udp({ destination: PORT })),
    ]
    const found = await plane.run(frames.map((frame) => ({ frame })))
    expect(found.map(({ explanation }) => explanation?.reason)).toEqual(Array(3).fill('default-pass'))
  })

  test('the next segments of a connection pass although the kernel has no socket of it yet, and count once', async () => {
    const before = await plane.sums('syn_stats', 0, synCounterCodec)
    const [answer] = (await send({ from: 41_000 })) as [Outcome]
    const acknowledged = read(answer).cookie + 1
    const segment = (sequence: number): Sent => ({
      from: 41_000,
      flags: ACK,
      sequence,
      acknowledged,
      options: '',
      payload: 100,
    })
    expect(await reasonOf(segment(2401))).toBe('syn-cookie-invalid')
    const outcomes = await send(segment(1001), segment(1101), segment(2401))
    expect(outcomes.map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'pass'])
    const after = await plane.sums('syn_stats', 0, synCounterCodec)
    expect(after.completed - before.completed).toBe(1)
    expect(after.answered - before.answered).toBe(1)
    expect(after.invalid - before.invalid).toBe(0)
  })

  test('concerns what lists pass, by allowlists too, and not what they drop', async () => {
    const source = '198.51.100.7'
    await plane.loadState(
      guarding('always 2000 443', policy('drop', allow('office', source), block('bad', '203.0.113.7'))),
    )
    expect(await reasonOf({ source })).toBe('syn-answered')
    expect(await reasonOf({ source: '203.0.113.7' })).toBe('blocklist')
    expect(await reasonOf({ source: '203.0.113.8' })).toBe('default-drop')
    await plane.loadState(ALWAYS)
  })

  test('the kernel decides whether there are cookies', async () => {
    netns.run('sysctl', '-qw', 'net.ipv4.tcp_syncookies=1')
    expect(await reasonOf({})).toBe('default-pass')
    netns.run('sysctl', '-qw', 'net.ipv4.tcp_syncookies=2', 'net.ipv4.tcp_timestamps=1')
    const [answer] = (await send({})) as [Outcome]
    // Only the kernel knows the offset of its timestamps.
    expect(read(answer)).toMatchObject({ options: '0204ffd7' })
    netns.run('sysctl', '-qw', 'net.ipv4.tcp_timestamps=2')
  })
})

describe('auto', () => {
  let files: string
  beforeAll(() => {
    files = mkdtempSync(join(tmpdir(), 'xdp-syn-'))
    writeFileSync(join(files, 'syn'), frameOf({}))
  })
  afterAll(() => rmSync(files, { recursive: true }))

  const ZERO = { opened: 0n, open: 0n, watching: 0n, answering: 0n, since: 0n, times: 0n }
  const setState = async (state: Partial<typeof ZERO>): Promise<void> => {
    const bytes = new Uint8Array(synStateCodec.size)
    synStateCodec.encode({ ...ZERO, ...state }, new DataView(bytes.buffer))
    await plane.setValue('syn_state', 0, bytes)
  }
  const state = async () => {
    const [bytes] = (await plane.values('syn_state', 1)) as [Uint8Array]
    return synStateCodec.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length))
  }
  /** As many SYNs at once on one CPU, as traffic of the network. */
  const flood = (cpu: number, count: number): void => {
    execFileSync('nsenter', [
      ...[`--net=/run/netns/${netns.name}`, 'taskset', '-c', `${cpu}`, 'bpftool', 'prog', 'run', 'pinned'],
      ...[plane.program('xdp_filter'), 'data_in', join(files, 'syn'), 'repeat', `${count}`],
    ])
  }
  const SECOND = 1_000_000_000n
  const soon = (): bigint => process.hrtime.bigint() + 60n * SECOND

  test('SYNs of all CPUs together begin it, and those of one alone do not, nor fewer than the threshold', async () => {
    await plane.loadState(guarding('auto 20 443'))
    await setState({})
    await plane.attachTestRuns(SLOT)
    // The burst is 32; a CPU adds 16 at a time. Those of the first CPU show that completions are to be counted.
    flood(0, 52)
    expect(await state()).toMatchObject({ answering: 0n, times: 0n })
    expect((await state()).watching).toBeGreaterThan(0n)
    expect(await reasonOf({})).toBe('default-pass')
    flood(1, 52)
    const begun = await state()
    expect(begun.times).toBe(1n)
    expect(begun.answering - begun.since).toBe(10n * SECOND)
    expect(await reasonOf({})).toBe('syn-answered')
    await plane.loadState(guarding('auto 100000 443'))
    await setState({})
    await plane.attachTestRuns(SLOT)
    flood(0, 600)
    flood(1, 600)
    await plane.attachTestRuns(0)
    expect(await state()).toMatchObject({ answering: 0n, watching: 0n })
  })

  test('acknowledgments are judged only while SYNs are answered, and completions count against them', async () => {
    await plane.loadState(guarding('auto 20 443'))
    const stray: Sent = { flags: ACK, acknowledged: 77, options: '' }
    await setState({})
    expect(await reasonOf(stray)).toBe('default-pass')
    await setState({ watching: soon() })
    expect(await reasonOf(stray)).toBe('default-pass')
    await setState({ watching: soon(), answering: soon() })
    expect(await reasonOf(stray)).toBe('syn-cookie-invalid')
    // As many completions as SYNs: the level does not rise. A tick of 67 ms at most is not added yet.
    const level = async (): Promise<bigint> => (await state()).open
    const ports = Array.from({ length: 48 }, (_, i) => 42_000 + i)
    await setState({ watching: soon(), answering: soon() })
    const answers = await send(...ports.map((from) => ({ from })))
    const risen = await level()
    expect(risen).toBeGreaterThan(process.hrtime.bigint() + 2n * SECOND)
    await send(
      ...answers.map((answer, i) => ({
        from: ports[i] as number,
        flags: ACK,
        sequence: 1001,
        acknowledged: read(answer).cookie + 1,
        options: '',
      })),
    )
    expect(await level()).toBeLessThan(risen - 2n * SECOND)
  })
})
