// Anomalies in the data plane: which packets have which, what is dropped and what only counted, and on which interfaces.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ANOMALY, anomalyCounterCodec } from '../../src/abi/generated.ts'
import { ANOMALY_NAMES } from '../../src/model/anomaly.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { EVERY_ROLE, type State } from '../../src/model/state.ts'
import { FRAMES, from, GOOD4, GOOD6, in4, in6, SAME_PORTS } from '../support/anomalies.ts'
import { DataPlane } from '../support/bpf.ts'
import { allow, block, policy, scope } from '../support/lists.ts'
import { factsOf } from '../support/model.ts'
import { ethernet, icmpv6, ipv4, ipv6, packet, raw, tcp, udp } from '../support/packets.ts'

const SLOT = 5
/** Not lo, where any source is right. */
const ARRIVAL = { ifindex: 7, slot: SLOT, flags: 0 }

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.apart()
})
afterAll(() => plane.close())

const stateWith = (anomalies: readonly string[], lists: State['lists'] = new Map()): State => ({
  ...policy('pass'),
  lists,
  policy: { ...DEFAULT_POLICY, default: 'pass', anomalies },
  interfaces: new Map(
    ['eth0', 'eth1'].map((name) => [name, { interface: name, modes: ['native'], roles: EVERY_ROLE }]),
  ),
})

describe('every anomaly alone', () => {
  test.each(ANOMALY_NAMES)('%s', async (name) => {
    await plane.loadState(stateWith([name]))
    const outcomes = await plane.run(FRAMES.map(([, frame]) => ({ frame, arrival: ARRIVAL })))
    const dropped = FRAMES.flatMap(([title], i) => (outcomes[i]?.verdict === 'drop' ? [title] : []))
    expect(dropped).toEqual(FRAMES.flatMap(([title, , anomalies]) => (anomalies.includes(name) ? [title] : [])))
    for (const [i, { explanation }] of outcomes.entries()) {
      const isFound = FRAMES[i]?.[2].includes(name)
      if (isFound) expect(explanation).toMatchObject({ reason: 'anomaly', scope: ANOMALY_NAMES.indexOf(name) })
    }
  })

  test('the model reads the frames as the table says', () => {
    for (const [title, frame, anomalies] of FRAMES) {
      const facts = factsOf(frame)
      expect([title, facts.kind === 'ip' ? facts.anomalies : []]).toEqual([title, anomalies])
    }
  })

  test('split packets have them too', async () => {
    if (!(await plane.canSplit())) return
    await plane.loadState(stateWith([...ANOMALY_NAMES]))
    const runs = FRAMES.map(([, frame]) => ({ frame, arrival: ARRIVAL, linear: 16 }))
    const outcomes = await plane.run(runs)
    const passed = FRAMES.flatMap(([title], i) => (outcomes[i]?.verdict === 'pass' ? [title] : []))
    expect(passed).toEqual(FRAMES.flatMap(([title, , anomalies]) => (anomalies.length === 0 ? [title] : [])))
  })
})

test('names and numbers of the two languages agree', () => {
  const numbers = Object.entries(ANOMALY).map(([name, number]) => [name.toLowerCase(), number])
  expect(numbers).toEqual(ANOMALY_NAMES.map((name, number) => [name, number]))
})

describe('what happens to packets', () => {
  const counts = async () =>
    Promise.all(ANOMALY_NAMES.map((_, number) => plane.sums('anomaly_stats', number, anomalyCounterCodec)))

  test('observed ones are counted and go on, up to the first that drops', async () => {
    const before = await counts()
    await plane.loadState(stateWith(['tcp_syn_fin observe', 'tcp_syn_rst', 'ip_options observe']))
    const frame = packet(ethernet(), ipv4({ ...GOOD4, options: 4 }), tcp({ flags: 7 }))
    const others = [in4(tcp({ flags: 3 })), in4(tcp()), packet(ethernet(), ipv4({ ...GOOD4, options: 4 }), udp())]
    const outcomes = await plane.send(SLOT, [frame, ...others])
    expect(outcomes.map(({ verdict }) => verdict)).toEqual(['drop', 'pass', 'pass', 'pass'])
    const after = await counts()
    const moved = ANOMALY_NAMES.flatMap((name, i) => {
      const [was, is] = [before[i], after[i]]
      const packets = (is?.packets ?? 0) - (was?.packets ?? 0)
      return packets === 0 ? [] : [[name, packets, (is?.dropped_packets ?? 0) - (was?.dropped_packets ?? 0)]]
    })
    expect(moved).toEqual([
      ['tcp_syn_fin', 2, 0],
      ['tcp_syn_rst', 1, 1],
      ['ip_options', 1, 0],
    ])
  })

  test('a test run counts nothing', async () => {
    await plane.loadState(stateWith(['tcp_null']))
    const before = await counts()
    await plane.run([{ frame: in4(tcp({ flags: 0 })), arrival: ARRIVAL }])
    expect(await counts()).toEqual(before)
  })

  test('allowlists spare packets, blocklists and bans decide first', async () => {
    const lists = new Map(
      [allow('friends', ['10.0.0.0/8', scope('any')]), block('bad', ['192.168.0.0/16', scope('any')])].map((list) => [
        list.name,
        list,
      ]),
    )
    await plane.loadState(stateWith(['bogons'], lists))
    const sources = ['10.0.0.1', '192.168.0.1', '172.16.0.1', '8.8.8.8']
    const outcomes = await plane.run(sources.map((source) => ({ frame: from(source), arrival: ARRIVAL })))
    expect(outcomes.map(({ explanation }) => explanation?.reason)).toEqual([
      'allowlist',
      'blocklist',
      'anomaly',
      'default-pass',
    ])
  })

  test('only on the interfaces that it names, and on one without an entry', async () => {
    await plane.loadState(stateWith(['bogons on eth1', 'tcp_null']))
    const runs = [1, 2, 0].map((slot) => ({ frame: from('10.0.0.1'), arrival: { ifindex: 7, slot, flags: 0 } }))
    expect((await plane.run(runs)).map(({ verdict }) => verdict)).toEqual(['pass', 'drop', 'drop'])
  })

  test('on lo any source is right', async () => {
    await plane.loadState(stateWith([...ANOMALY_NAMES]))
    const loopback = packet(ethernet(), ipv4({ source: '127.0.0.1', destination: '127.0.0.1' }), udp(SAME_PORTS))
    const frames = [loopback, from('10.0.0.1'), in4(tcp({ flags: 0 }))]
    const runs = frames.map((frame) => ({ frame, arrival: { ifindex: 1, slot: SLOT, flags: 0 } }))
    expect((await plane.run(runs)).map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'drop'])
  })

  test('essential packets of default drop are judged too', async () => {
    const state = stateWith(['bad_length'])
    await plane.loadState({ ...state, policy: { ...DEFAULT_POLICY, ...state.policy, default: 'drop' } })
    const run = (frame: Uint8Array) => ({ frame, arrival: ARRIVAL })
    const outcomes = await plane.run([
      run(in6(icmpv6(135), raw(16))),
      run(packet(ethernet(), ipv6({ ...GOOD6, payloadLength: 99 }), icmpv6(135), raw(16))),
      run(in4(udp())),
    ])
    expect(outcomes.map(({ explanation }) => explanation?.reason)).toEqual(['essential', 'anomaly', 'default-drop'])
  })
})
