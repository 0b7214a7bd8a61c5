// Random SYNs and acknowledgments: compares the loaded program with the models, in verdict, reason and every byte of the
// answer but those that only the kernel knows. A failure prints the seed; SEED=n repeats it.

import type { ChildProcess } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { synStateCodec } from '../../src/abi/generated.ts'
import { ANYWHERE } from '../../src/abi/packet.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import type { State } from '../../src/model/state.ts'
import { type Circumstances, judge } from '../../src/semantics/judge.ts'
import type { Listener } from '../../src/semantics/syn-answer.ts'
import { DataPlane } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { SEED, usually } from '../support/depth.ts'
import { allow, block, policy } from '../support/lists.ts'
import { factsOf } from '../support/model.ts'
import { Namespace } from '../support/netns.ts'
import * as p from '../support/packets.ts'
import { type Random, randomFrom } from '../support/random.ts'
import { acknowledges, answerFrame, masked, opens, randomSegment, segmentOf } from '../support/syn.ts'

const ROUNDS = usually(4, { thoroughly: 40 })
const PACKETS = 500
const SLOT = 3

const HOST = ['192.0.2.1', '2001:db8:ffff::1'] as const
const ENDS = {
  sources: [
    ...['198.51.100.7', '203.0.113.7', '203.0.113.200', '127.0.0.1', '224.0.0.1', '0.0.0.1', HOST[0]],
    ...['2001:db8::7', '2001:db8:bad::7', 'fe80::1', '::1', 'ff02::1', HOST[1]],
  ],
  // This host forwards packets to the last ones.
  destinations: [HOST[0], HOST[0], HOST[0], HOST[1], HOST[1], HOST[1], '203.0.113.80', '2001:db8:eeee::1'],
  ports: [443, 443, 443, 444, 445, 446, 447, 8000],
}
const DEFAULT_BUFFER = 131_072
/** By port: 446 is not protected, nothing listens on 8000, and 447 is for IPv6 alone. */
const LISTENERS: Readonly<Record<number, Pick<Listener, 'mostSegment' | 'buffer' | 'isBounded'>>> = {
  443: { mostSegment: 0, buffer: DEFAULT_BUFFER, isBounded: false },
  444: { mostSegment: 1000, buffer: DEFAULT_BUFFER, isBounded: false },
  // The kernel doubles what SO_RCVBUF asks for.
  445: { mostSegment: 0, buffer: 32_768, isBounded: true },
  446: { mostSegment: 0, buffer: DEFAULT_BUFFER, isBounded: false },
  447: { mostSegment: 0, buffer: DEFAULT_BUFFER, isBounded: false },
}
const SERVER = `
import socket, time
held = []
for port in (443, 444, 445, 446, 447):
    one = socket.socket(socket.AF_INET6)
    if port == 444: one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    if port == 445: one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if port == 447 else 0)
    one.bind(('::', port))
    one.listen(1024)
    held.append(one)
print('ready', flush=True)
time.sleep(3600)
`

let netns: Namespace
let plane: DataPlane
let server: ChildProcess

beforeAll(async () => {
  netns = new Namespace(['10.0.0.1/24', 'fd00::1/64'], {})
  netns.run('ip', 'route', 'add', '203.0.113.0/24', 'via', '10.0.0.2')
  netns.run('ip', 'route', 'add', '2001:db8:eeee::/48', 'via', 'fd00::2')
  for (const address of [`${HOST[0]}/32`, `${HOST[1]}/128`]) netns.run('ip', 'addr', 'add', address, 'dev', 'lo')
  netns.run('sysctl', '-qw', 'net.ipv4.tcp_syncookies=2', `net.ipv4.tcp_rmem=4096 ${DEFAULT_BUFFER} 6291456`)
  server = await netns.python(SERVER)
  plane = await DataPlane.open(netns.name)
})
afterAll(() => {
  plane?.close()
  server?.kill('SIGKILL')
  netns?.close()
})

type Settings = Pick<Listener, 'mtu' | 'largest' | 'timestamps' | 'scaling' | 'sack' | 'ecn'>

/** Chooses settings of the host, and makes them. */
function settle(random: Random): Settings & { readonly receiveMax: number } {
  const receiveMax = random.pick([0, 212_992, 2 ** 25])
  const made = {
    mtu: random.pick([300, 1500, 9000, 65_536]),
    timestamps: random.pick([2, 2, 2, 1, 0]),
    scaling: random.chance(0.8),
    sack: random.chance(0.8),
    ecn: random.pick([0, 1, 2]),
  }
  // IPv6 needs 1,280 bytes.
  const mtu = Math.max(1280, made.mtu)
  netns.run('ip', 'link', 'set', 'lo', 'mtu', `${mtu}`)
  netns.run(
    ...(['sysctl', '-qw', `net.ipv4.tcp_timestamps=${made.timestamps}`, `net.ipv4.tcp_ecn=${made.ecn}`] as const),
    ...[`net.ipv4.tcp_window_scaling=${Number(made.scaling)}`, `net.ipv4.tcp_sack=${Number(made.sack)}`],
  )
  return { ...made, mtu, largest: Math.max(6_291_456, receiveMax), receiveMax }
}

const POLICIES = [
  policy('pass', block('bad', '203.0.113.0/25 2001:db8:bad::/48')),
  policy('drop', allow('office', '198.51.100.0/24 2001:db8::/32 203.0.113.0/24')),
] as const

const MODES = ['always', 'flooded', 'auto', 'off'] as const
/** `flooded`: auto, while SYNs are answered. */
type Mode = (typeof MODES)[number]

/** Says until when SYNs are answered, in minutes from now. */
async function answerFor(minutes: bigint): Promise<void> {
  const bytes = new Uint8Array(synStateCodec.size)
  const until = minutes === 0n ? 0n : process.hrtime.bigint() + minutes * 60_000_000_000n
  const state = { opened: 0n, open: 0n, watching: until, answering: until, since: 0n, times: 0n }
  synStateCodec.encode(state, new DataView(bytes.buffer))
  await plane.setValue('syn_state', 0, bytes)
}

function randomState(random: Random, receiveMax: number, mode: Mode): State {
  const base = random.pick(POLICIES)
  const setting = mode === 'off' ? '' : `${mode === 'always' ? 'always' : 'auto'} 2000 443-445,447,8000`
  return { ...base, policy: { ...(base.policy ?? DEFAULT_POLICY), syn_protection: setting }, receiveMax }
}

/** The listening socket for a frame that this host does not forward: it takes any address. */
function listenerOf(frame: Uint8Array): (typeof LISTENERS)[number] | undefined {
  const segment = segmentOf(frame)
  if (!segment) return undefined
  const { family, facts } = segment
  const port = facts.ports?.destination as number
  const [high = 0, low = 0] = facts.traits?.destination ?? []
  const { source } = facts
  // Packets from link-local addresses, groups, :: and ::1 are not forwarded.
  const first = source[0] as number
  const isLocal = (first & 0xffc00000) >>> 0 === 0xfe800000 || first >>> 24 === 0xff
  const stays = isLocal || (source.slice(0, 3).every((word) => word === 0) && (source[3] as number) < 2)
  const isOut =
    family === 4 ? (high & 0xffffff00) >>> 0 === 0xcb007100 : high === 0x20010db8 && low >>> 16 === 0xeeee && !stays
  return isOut || (family === 4 && port === 447) ? undefined : LISTENERS[port]
}

/** The acknowledgment of an answer: of its cookie, or beside it. */
function acknowledgmentOf(
  random: Random,
  answer: Uint8Array,
): { readonly frame: Uint8Array; readonly isValid: boolean } {
  const segment = segmentOf(answer)
  if (!segment) throw new Error('no segment')
  const view = new DataView(segment.header.buffer, segment.header.byteOffset)
  const { traits, source, ports } = segment.facts
  const text = (words: Uint32Array | undefined): string =>
    segment.family === 4
      ? [24, 16, 8, 0].map((shift) => ((words?.[0] as number) >>> shift) & 255).join('.')
      : [...(words ?? [])].map((word) => `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`).join(':')
  const ends = { source: text(traits?.destination), destination: text(source) }
  const isValid = random.chance(0.5)
  // Cookies within 3 of each other differ in the size of segments alone.
  const off = isValid ? 1 : random.pick([-1000, 1000, 2 ** 24 + 1])
  const tcp = p.tcp({
    ...{ source: ports?.destination as number, destination: ports?.source as number },
    ...{ flags: random.pick([p.ACK, p.ACK | 8, p.ACK | 1]), sequence: view.getUint32(8) },
    acknowledged: (view.getUint32(4) + off) >>> 0,
  })
  const ip = segment.family === 4 ? p.ipv4(ends) : p.ipv6(ends)
  return { frame: seal(p.packet(p.ethernet(), ip, tcp, p.raw(random.below(20)))), isValid }
}

test(`program and models agree on ${ROUNDS} rounds of ${PACKETS} segments, seed ${SEED}`, async () => {
  const random = randomFrom(SEED)
  let answered = 0
  for (let round = 0; round < ROUNDS; round++) {
    const mode = MODES[round % MODES.length] as Mode
    const answers = mode === 'always' || mode === 'flooded'
    const settings = settle(random)
    const state = randomState(random, settings.receiveMax, mode)
    await plane.loadState(state)
    await answerFor(mode === 'flooded' ? 10n : 0n)
    const frames = Array.from({ length: PACKETS }, () => randomSegment(random, ENDS))
    const compare = async (all: readonly Uint8Array[], proven: (i: number) => boolean): Promise<void> => {
      const found = await plane.run(all.map((frame) => ({ frame, arrival: { ...ANYWHERE, slot: SLOT } })))
      const wrong = found.flatMap(({ verdict, explanation }, i) => {
        const frame = all[i] as Uint8Array
        const listens = answers && listenerOf(frame) !== undefined
        const circumstances: Circumstances = {
          answered: listens && opens(frame),
          unproven: listens && acknowledges(frame) && !proven(i),
        }
        const wanted = judge(state, factsOf(frame), circumstances, {
          ifindex: 1,
          interface: 'eth0',
          roles: ['filter', 'balance'],
        })
        if (verdict === wanted.verdict && (explanation?.reason ?? wanted.reason) === wanted.reason) return []
        const { reason } = explanation ?? {}
        return [{ frame: Buffer.from(frame).toString('hex'), verdict, reason, wanted: wanted.reason, listens }]
      })
      expect(wrong, `seed ${SEED}, round ${round}, ${mode}`).toEqual([])
    }
    await compare(frames, () => false)
    if (!answers) continue

    const before = Math.floor(performance.now())
    const outcomes = await plane.send(SLOT, frames)
    const sent = outcomes.flatMap(({ verdict, output }, i) =>
      verdict === 'tx' ? [{ output, frame: frames[i] as Uint8Array }] : [],
    )
    answered += sent.length
    const times: number[] = []
    for (const { output, frame } of sent) {
      const { bytes, time } = masked(output)
      const listener = { ...settings, ...(listenerOf(frame) as (typeof LISTENERS)[number]) } as Listener
      const where = `seed ${SEED}, round ${round}, ${Buffer.from(frame).toString('hex')}`
      expect(bytes, where).toBe(masked(answerFrame(frame, listener)).bytes)
      expect(wrongChecksums(output), where).toEqual([])
      if (time !== undefined) times.push(time)
    }
    // Milliseconds of the kernel's clock, rounded down to make room for the options.
    const taken = performance.now() - before + 200
    if (times.length > 1) expect(Math.max(...times) - Math.min(...times)).toBeLessThan(taken)
    const replies = sent.map(({ output }) => acknowledgmentOf(random, output))
    await compare(
      replies.map(({ frame }) => frame),
      (i) => replies[i]?.isValid === true,
    )
  }
  // Most of them must come so far, or the comparison says little.
  expect(answered).toBeGreaterThan((ROUNDS / 2) * PACKETS * 0.05)
})
