// Findings about interfaces that no test machine has: facts in, findings out.
import { describe, expect, test } from 'vitest'
import { type Card, chooseNames, parseDetails, withRelatives } from '../../../src/kernel/doctor/cards.ts'
import { checkInterface } from '../../../src/kernel/doctor/interface.ts'
import { supportsNative } from '../../../src/kernel/doctor/native.ts'
import { type Feature, parseChannels, parseDriver, parseFeatures } from '../../../src/kernel/host/ethtool.ts'
import type { AttachMode } from '../../../src/model/state.ts'
import type { Version } from '../../../src/model/version.ts'
import type { Check } from '../../../src/report/result.ts'

interface Facts extends Partial<Omit<Card, 'hardware'>> {
  readonly driver?: string
  readonly features?: Readonly<Record<string, Feature>>
  readonly queues?: { readonly max: number; readonly now: number }
}

function card({ driver, features = {}, queues, ...facts }: Facts = {}): Card {
  const combined = (count: number) => ({ rx: undefined, tx: undefined, combined: count })
  return {
    name: 'eth0',
    ifindex: 2,
    mtu: 1500,
    mac: '02005e1000fe',
    vlan: undefined,
    below: undefined,
    up: true,
    kind: 'physical',
    linkType: 'ether',
    isMultipoint: false,
    master: undefined,
    carrier: true,
    lower: undefined,
    variant: undefined,
    rxQueues: 8,
    txQueues: 8,
    programs: [],
    interrupts: [],
    virtualFunctions: 0,
    ...facts,
    hardware: {
      driver,
      bus: '0000:00:03.0',
      features: new Map(Object.entries(features)),
      channels: queues && { max: combined(queues.max), now: combined(queues.now) },
    },
  }
}

const PROCESSORS = { possible: 8, online: [0, 1, 2, 3, 4, 5, 6, 7] }

interface Given {
  readonly wanted?: readonly AttachMode[] | undefined
  readonly kernel?: Version
  readonly others?: readonly Card[]
  readonly balances?: boolean
  readonly answers?: boolean
}

function check(
  subject: Card,
  { wanted, kernel = [6, 12], others = [], balances = false, answers = false }: Given = {},
): Map<string, Check> {
  const cards = new Map([subject, ...others].map((one) => [one.name, one]))
  const named = new Set(wanted ? [subject.name] : [])
  const checks = checkInterface(subject, wanted, { kernel, cards, balances, answers, processors: PROCESSORS }, named)
  return new Map(checks.map((one) => [one.id.replace(`interface.${subject.name}.`, ''), one]))
}

const NATIVE = ['native'] as const
const EITHER = ['native', 'generic'] as const
const GENERIC = ['generic'] as const

describe('native support', () => {
  test.each([
    ['a driver of the table', card({ driver: 'mlx5_core' }), 'yes'],
    ['a driver with native XDP since a later kernel', card({ driver: 'idpf' }), 'no'],
    ['a driver without native XDP', card({ driver: 'r8169' }), 'no'],
    ['an unknown driver', card({ driver: 'fnord' }), 'unknown'],
    ['a driver named like a property of objects', card({ driver: 'constructor' }), 'unknown'],
    ['a card without ethtool', card(), 'unknown'],
    ['a tap', card({ kind: 'tun', variant: 'tap' }), 'yes'],
    ['a tun', card({ kind: 'tun', variant: 'tun' }), 'no'],
    ['a veth', card({ kind: 'veth' }), 'yes'],
    ['a bridge', card({ kind: 'bridge' }), 'no'],
    ['loopback', card({ kind: 'loopback' }), 'no'],
    ['a VLAN', card({ kind: 'vlan', lower: 'eth0', name: 'eth0.5' }), 'no'],
    ['a card that runs a native program', card({ driver: 'fnord', programs: [program('native')] }), 'yes'],
  ])('%s', (_, subject, answer) => {
    expect(
      supportsNative(subject, {
        kernel: [6, 12],
        cards: new Map(),
        balances: false,
        answers: false,
        processors: PROCESSORS,
      }).answer,
    ).toBe(answer)
  })

  test('its absence is as severe as the config makes it', () => {
    const level = (wanted?: readonly AttachMode[]) => check(card({ driver: 'r8169' }), { wanted }).get('native')?.level
    expect([level(), level(NATIVE), level(EITHER), level(GENERIC)]).toEqual(['warn', 'fail', 'warn', 'ok'])
    const unsure = (wanted: readonly AttachMode[]) => check(card({ driver: 'fnord' }), { wanted }).get('native')?.level
    expect([unsure(NATIVE), unsure(GENERIC)]).toEqual(['warn', 'ok'])
  })

  test('virtio_net with fixed merging has no native XDP', () => {
    const merging = (fixed: boolean) => card({ driver: 'virtio_net', features: { 'rx-gro-hw': { on: true, fixed } } })
    expect(check(merging(true), { wanted: NATIVE }).get('native')).toMatchObject({
      level: 'fail',
      fix: expect.stringContaining('mode: generic'),
    })
    expect(check(merging(false), { wanted: NATIVE }).get('native')?.level).toBe('ok')
  })

  test('a bond depends on its members and its mode', () => {
    const bond = card({ name: 'bond0', kind: 'bond', bond: { mode: '802.3ad', policy: 'layer2' } })
    const member = (name: string, driver: string) => card({ name, driver, master: 'bond0' })
    const level = (subject: Card, ...others: Card[]) => check(subject, { wanted: NATIVE, others }).get('native')?.level
    expect(level(bond, member('eth0', 'ice'), member('eth1', 'ice'))).toBe('ok')
    expect(level(bond, member('eth0', 'ice'), member('eth1', 'r8169'))).toBe('fail')
    expect(level(bond, member('eth0', 'ice'), member('eth1', 'fnord'))).toBe('warn')
    const words = (...others: Card[]) => check(bond, { wanted: NATIVE, others }).get('native')?.message
    expect(words(member('eth0', 'ice'), member('eth1', 'mlx5_core'))).toContain('eth0 (ice) and eth1 (mlx5_core)')
    expect(words(member('eth0', 'ice'), member('eth1', 'r8169'))).toMatch(
      /eth1 has no native XDP \(beside eth0 \(ice\)\): driver r8169/,
    )
    expect(level(bond)).toBe('warn')
    expect(level(bond, member('eth0', 'mlx4_en'))).toBe('fail')
    const program = { id: 7, mode: 'native', name: 'x', owner: 'foreign', instance: undefined } as const
    expect(level(bond, { ...member('eth0', 'ice'), programs: [program] })).toBe('fail')
    const set = (mode: string, policy: string) => level({ ...bond, bond: { mode, policy } }, member('eth0', 'ice'))
    expect([set('balance-alb', 'layer2'), set('balance-xor', 'vlan+srcmac')]).toEqual(['fail', 'fail'])
  })

  test('a veth needs as many receive queues as its peer has transmit queues', () => {
    const channels = (rx: number, tx: number) => {
      const count = { rx, tx, combined: undefined }
      return { driver: 'veth', bus: undefined, features: new Map(), channels: { max: count, now: count } }
    }
    const end: Card = { ...card({ name: 'v0', kind: 'veth', lower: 'v1' }), hardware: channels(1, 1) }
    const peer: Card = { ...card({ name: 'v1', kind: 'veth', lower: 'v0' }), hardware: channels(1, 4) }
    expect(check(end, { wanted: NATIVE, others: [peer] }).get('native')).toMatchObject({
      level: 'fail',
      fix: 'ethtool -L v0 rx 4',
    })
  })
})

const program = (mode: AttachMode, facts: Partial<Card['programs'][number]> = {}): Card['programs'][number] => ({
  id: 7,
  mode,
  name: 'other',
  owner: 'foreign',
  instance: undefined,
  ...facts,
})

describe('link', () => {
  test('is up, down or without carrier', () => {
    expect(check(card({ driver: 'ice' })).get('link')?.level).toBe('ok')
    expect(check(card({ up: false })).get('link')).toMatchObject({ level: 'warn', fix: 'ip link set eth0 up' })
    expect(check(card({ carrier: false })).get('link')?.level).toBe('warn')
  })
})

describe('mtu', () => {
  test.each([
    ['a driver without frags', 'ixgbe', 9000, [6, 12], 'fail'],
    ['an MTU below the limit', 'ixgbe', 3000, [6, 12], undefined],
    ['a driver with frags', 'ice', 9000, [6, 12], undefined],
    ['a driver before it had frags', 'ice', 9000, [6, 1], 'fail'],
    ['a driver without a limit', 'tsnep', 9000, [6, 12], undefined],
    ['an unknown driver', 'fnord', 9000, [6, 12], undefined],
  ] as const)('%s', (_, driver, mtu, kernel, level) => {
    expect(check(card({ driver, mtu }), { wanted: NATIVE, kernel }).get('mtu')?.level).toBe(level)
  })

  test('a running native program overrides the MTU limit', () => {
    const running = card({ driver: 'ixgbe', mtu: 9000, programs: [program('native', { owner: 'ours' })] })
    expect(check(running, { wanted: NATIVE }).has('mtu')).toBe(false)
  })
})

describe('offload mode', () => {
  test('needs a card of Netronome', () => {
    const level = (driver: string, ...wanted: AttachMode[]) => check(card({ driver }), { wanted }).get('offload')?.level
    expect(level('ice', 'offload')).toBe('fail')
    expect(level('ice', 'offload', 'native')).toBe('warn')
    expect(level('nfp', 'offload')).toBeUndefined()
  })
})

describe('relation', () => {
  const relation = (subject: Card, ...others: Card[]) => check(subject, { wanted: NATIVE, others }).get('relation')

  test('the finding about a VLAN names its parent', () => {
    const parent = card({ name: 'eth0' })
    expect(relation(card({ name: 'eth0.5', kind: 'vlan', lower: 'eth0' }), parent)?.fix).toContain('name eth0 instead')
  })

  test('a bridge port also filters forwarded packets', () => {
    expect(relation(card({ master: 'br0' }), card({ name: 'br0', kind: 'bridge' }))?.message).toContain('br0')
  })

  test('a bridge filters only packets for this host', () => {
    expect(relation(card({ name: 'br0', kind: 'bridge' }), card({ master: 'br0' }))?.fix).toContain('eth0')
  })

  test('a bond member is reported if the config lacks other members', () => {
    const bond = card({ name: 'bond0', kind: 'bond' })
    expect(relation(card({ master: 'bond0' }), bond, card({ name: 'eth1', master: 'bond0' }))?.fix).toContain('eth1')
    expect(relation(card({ master: 'bond0' }), bond)).toBeUndefined()
  })

  test('the finding about a Hyper-V virtual function names its master', () => {
    const synthetic = card({ name: 'eth0', driver: 'hv_netvsc' })
    expect(relation(card({ name: 'enP1', driver: 'mlx5_core', master: 'eth0' }), synthetic)?.fix).toBe(
      'name eth0 instead',
    )
  })
})

describe('programs', () => {
  const found = (...programs: Card['programs'][number][]) =>
    check(card({ driver: 'ice', programs }), { wanted: NATIVE }).get('program')

  test.each([
    ['none', [], 'ok', undefined],
    ['ours', [program('native', { owner: 'ours' })], 'ok', undefined],
    [
      'our program in a mode other than the preferred one',
      [program('generic', { owner: 'ours' })],
      'warn',
      'mode: native',
    ],
    ['a foreign program', [program('generic')], 'warn', 'bpftool net detach xdpgeneric dev eth0'],
    [
      'the dispatcher of libxdp',
      [program('native', { name: 'xdp_dispatcher' })],
      'warn',
      'xdp-loader unload eth0 --all',
    ],
    ['a program of another instance', [program('native', { instance: 'lab' })], 'warn', 'xdp destroy --instance lab'],
    [
      'a program with an owner that only root can see',
      [program('native', { owner: 'unknown' })],
      'warn',
      'sudo xdp doctor',
    ],
  ] as const)('%s', (_, programs, level, fix) => {
    const check = found(...programs)
    expect(check?.level).toBe(level)
    if (fix === undefined) expect(check?.fix).toBeUndefined()
    else expect(check?.fix).toContain(fix)
  })
})

describe('choice of interfaces', () => {
  const links = new Map(
    [
      card({ name: 'lo', kind: 'loopback' }),
      card({ name: 'eth0' }),
      card({ name: 'eth1', up: false, master: 'bond0' }),
      card({ name: 'bond0', kind: 'bond' }),
      card({ name: 'docker0', kind: 'bridge' }),
      card({ name: 'veth1', kind: 'veth', master: 'docker0' }),
      card({ name: 'veth2', kind: 'veth' }),
      card({ name: 'veth3', kind: 'veth', up: false }),
      // Of health checks through VIPs.
      card({ name: 'xdpc0123abcd', kind: 'veth' }),
    ].map((one) => [one.name, one]),
  )

  test('without a config: interfaces that are up and not behind a bridge', () => {
    expect(chooseNames([], links)).toEqual(['eth0', 'bond0', 'docker0', 'veth2'])
  })

  test('with a config: its interfaces that exist', () => {
    expect(chooseNames(['veth1', 'nope', 'lo'], links)).toEqual(['veth1', 'lo'])
  })

  test('members of bonds and peers are checked too', () => {
    const details = new Map([
      ['veth2', { carrier: true, lower: 'veth3', variant: undefined, rxQueues: 1, txQueues: 1 }],
    ])
    expect(withRelatives(['bond0', 'veth2'], links, details)).toEqual(['bond0', 'veth2', 'eth1', 'veth3'])
  })
})

describe('parsing the output of tools', () => {
  test('ip -d link', () => {
    const details = parseDetails([
      { ifname: 'tap0', flags: ['UP'], num_rx_queues: 4, linkinfo: { info_data: { type: 'tap' } } },
      { ifname: 'bond0', flags: ['UP', 'LOWER_UP'], linkinfo: { info_data: { mode: '802.3ad' } } },
      { ifname: 'eth0.5', flags: [], link: 'eth0' },
    ])
    expect(details.get('tap0')).toMatchObject({ carrier: false, variant: 'tap', rxQueues: 4 })
    expect(details.get('bond0')).toMatchObject({ carrier: true, variant: '802.3ad' })
    expect(details.get('eth0.5')).toMatchObject({ carrier: true, lower: 'eth0' })
  })

  test('ethtool -i', () => {
    expect(parseDriver('driver: virtio_net\nversion: 1.0.0\nfirmware-version: \n')).toBe('virtio_net')
    expect(parseDriver('driver: 802.1Q VLAN Support\nversion: 1.8\n')).toBe('802.1Q VLAN Support')
    expect(parseDriver('')).toBeUndefined()
  })

  test('ethtool -k', () => {
    const features = parseFeatures(
      'Features for eth0:\nrx-checksumming: on [fixed]\n\ttx-tcp-segmentation: off\n' +
        'large-receive-offload: off [fixed]\nrx-gro-hw: on\nrx-vlan-filter: on [requested off]\n',
    )
    expect(Object.fromEntries(features)).toEqual({
      'rx-checksumming': { on: true, fixed: true },
      'tx-tcp-segmentation': { on: false, fixed: false },
      'large-receive-offload': { on: false, fixed: true },
      'rx-gro-hw': { on: true, fixed: false },
      'rx-vlan-filter': { on: true, fixed: false },
    })
  })

  test('ethtool -l', () => {
    const text = (max: string, now: string) =>
      'Channel parameters for eth0:\nPre-set maximums:\n' +
      `RX:\t\tn/a\nTX:\t\tn/a\nOther:\t\t1\nCombined:\t${max}\n` +
      `Current hardware settings:\nRX:\t\t0\nTX:\t\tn/a\nOther:\t\t1\nCombined:\t${now}\n`
    expect(parseChannels(text('8', '4'))).toEqual({
      max: { rx: undefined, tx: undefined, combined: 8 },
      now: { rx: 0, tx: undefined, combined: 4 },
    })
    expect(parseChannels('netlink error: Operation not supported\n')).toBeUndefined()
  })
})

describe('an empty first buffer', () => {
  const linear = (mtu: number, given: Given = {}, driver = 'mlx5_core') =>
    check(card({ driver, mtu }), { wanted: NATIVE, ...given }).get('linear')

  test('of mlx5 above its MTU is reported with its cost, on kernels that accept that MTU', () => {
    expect(linear(3498)).toBeUndefined()
    const found = linear(9000, { kernel: [6, 12] })
    expect(found?.level).toBe('warn')
    expect(found?.message).toMatch(
      /the filter judges them all, but each costs more, and packets of services are not balanced/,
    )
    expect(found?.fix).toBe('ip link set eth0 mtu 3498')
    expect(linear(9000, { kernel: [6, 18] })?.message).toContain('first rearranged (bpf_xdp_pull_data)')
    // Before, the driver refuses native XDP at that MTU.
    expect(linear(9000, { kernel: [6, 1] })).toBeUndefined()
  })

  test('is no matter of generic mode, nor of other drivers', () => {
    expect(linear(9000, { wanted: GENERIC })).toBeUndefined()
    expect(linear(9000, {}, 'ice')).toBeUndefined()
  })
})

describe('the peer of a veth', () => {
  const peer = (subject: Card, given: Given = {}) => check(subject, { wanted: NATIVE, ...given }).get('peer')
  const veth = card({ kind: 'veth', lower: 'eth0p' })

  test('needs a program, where native XDP transmits', () => {
    expect(peer(veth)).toBeUndefined()
    expect(peer(veth, { answers: true, wanted: GENERIC })).toBeUndefined()
    expect(peer(card({ driver: 'ice' }), { answers: true })).toBeUndefined()
    const found = peer(veth, { answers: true })
    expect(found).toMatchObject({ level: 'warn' })
    expect(found?.message).toContain('its peer is in another namespace')
    expect(peer(veth, { balances: true, others: [card({ name: 'eth0p', kind: 'veth' })] })?.message).toContain('none')
    const passing = card({ name: 'eth0p', kind: 'veth', programs: [program('native')] })
    expect(peer(veth, { answers: true, others: [passing] })).toMatchObject({ level: 'ok' })
  })
})

describe('VLAN tags taken out before XDP', () => {
  const ON = { 'rx-vlan-offload': { on: true, fixed: false } }
  const above = (parent: string) => card({ name: `${parent}.7`, kind: 'vlan', vlan: { parent, tag: 7 } })
  const tags = (subject: Card, given: Given = {}) => check(subject, { wanted: NATIVE, ...given }).get('vlan')

  test('cost the balancer its answers, and the filter nothing', () => {
    const subject = card({ driver: 'ice', features: ON })
    const others = [above('eth0')]
    expect(tags(subject, { others })).toMatchObject({ level: 'ok' })
    const found = tags(subject, { others, balances: true })
    expect(found).toMatchObject({ level: 'warn', fix: 'ethtool -K eth0 rxvlan off' })
    expect(found?.message).toMatch(/eth0\.7 is above it.*echo replies, "packet too big", full NAT.* leave untagged/)
  })

  test('matter only below VLAN devices, and while the offload is on', () => {
    expect(tags(card({ features: ON }), { balances: true })).toBeUndefined()
    const off = { 'rx-vlan-offload': { on: false, fixed: false } }
    expect(tags(card({ features: off }), { others: [above('eth0')], balances: true })).toBeUndefined()
  })

  test('of a bond are those of its members', () => {
    const member = (name: string, features: Facts['features'] = {}) => card({ name, master: 'bond0', features })
    const bond = card({ name: 'bond0', kind: 'bond', features: ON })
    const others = [member('eth0', ON), member('eth1'), member('eth2', ON), above('bond0')]
    expect(tags(bond, { others, balances: true })?.fix).toBe('ethtool -K eth0 rxvlan off && ethtool -K eth2 rxvlan off')
  })
})
