import { describe, expect, test } from 'vitest'
import type { Link } from '../../../src/model/live.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import type { AttachMode, List, Scope, State } from '../../../src/model/state.ts'
import { guard } from '../../../src/plan/guard.ts'
import { plan } from '../../../src/plan/plan.ts'
import { hintOfTags } from '../../../src/plan/warn-driver.ts'
import { allow, block, scope } from '../../support/lists.ts'
import { ANY, desired, foreign, link, list, live, PROGRAM, rateLimit, scoped, state } from '../../support/states.ts'

const wanted = (...modes: readonly AttachMode[]) => state({ policy: 'pass', interfaces: { eth0: modes } })
const attached = (mode: AttachMode) => state({ program: PROGRAM, policy: 'pass', interfaces: { eth0: [mode] } })

function warnings(file: State, links: readonly Link[], now?: State, missing: 'error' | 'skip' = 'error') {
  const facts = now ? { state: now, links } : { links }
  return plan(desired(file, { eth0: { missing } }), live(facts), PROGRAM).warnings
}
const codes = (...args: Parameters<typeof warnings>) => warnings(...args).map(({ code }) => code)

/** A state under default drop with these lists. */
const dropping = (...lists: readonly List[]): State => ({
  ...state({ policy: 'drop', interfaces: { eth0: ['generic'] } }),
  lists: new Map(lists.map((one) => [one.name, one])),
})
const ofOwn = (...lists: readonly List[]): string[] =>
  warnings(dropping(...lists), [link('eth0')]).map(({ code, message }) => `${code} ${message}`)

test('default drop warns that answers to this host are dropped, unless the allowlist has entries for them', () => {
  const office = allow('office', '192.0.2.0/24')
  const names = allow('names', ['192.0.2.53', scope(17, { source: [53, 123] })])
  const all = 'W225 policy.established is judge: answers to TCP connections, DNS queries and NTP queries of this host'
  expect(ofOwn(office)).toEqual([expect.stringContaining(all)])
  expect(ofOwn(office, names)).toEqual([expect.stringMatching(/^W225 .* answers to TCP connections of this host /)])
  expect(ofOwn(names, allow('answers', ['0.0.0.0/0 ::/0', scope(6)]))).toEqual([])
  expect(ofOwn(names, allow('web', ['0.0.0.0/0', scope(6, { destination: [443] })]))).toHaveLength(1)
  expect(ofOwn(allow('everything', '0.0.0.0/0'))).toEqual([])
  const tracked = { ...dropping(office), policy: { ...DEFAULT_POLICY, default: 'drop', established: 'pass' } } as const
  expect(codes(tracked, [link('eth0')])).not.toContain('W225')
  expect(ofOwn(block('office', '192.0.2.0/24'))).toEqual([expect.stringContaining('W205')])
  expect(codes({ ...dropping(office), policy: DEFAULT_POLICY }, [link('eth0')])).toEqual([])
  const everywhere = (...interfaces: string[]) => allow('lan', ['0.0.0.0/0', { ...ANY, interfaces }])
  expect(ofOwn(everywhere('eth0'))).toEqual([])
  expect(ofOwn(everywhere('eth1'), office)).toEqual([expect.stringContaining(all)])
})

test('default drop warns that it knows no connections that the host forwards, unless the allowlist has their peers', () => {
  const policy = { ...DEFAULT_POLICY, default: 'drop', established: 'pass' } as const
  const on = (v4: boolean, v6: boolean, ...lists: readonly List[]) => {
    const file = { ...dropping(...lists), policy }
    const now = live({ links: [link('eth0')], forwards: { v4, v6 } })
    return plan(desired(file), now, PROGRAM).warnings.filter(({ code }) => code === 'W231')
  }
  const office = allow('office', '192.0.2.0/24')
  expect(on(false, false, office)).toEqual([])
  expect(on(true, false, office)).toMatchObject([
    {
      message: expect.stringMatching(/^this host forwards IPv4: /),
      hint: expect.stringContaining('net.ipv4.ip_forward=0'),
    },
  ])
  expect(on(false, true)).toMatchObject([{ hint: expect.stringContaining('net.ipv6.conf.all.forwarding=0') }])
  expect(on(true, true, office)).toMatchObject([{ message: expect.stringContaining('forwards IPv4 and IPv6: ') }])
  expect(on(true, true, allow('everything', '0.0.0.0/0'))).toEqual([])
})

test('native XDP on a veth turns off TSO on its peer', () => {
  expect(codes(wanted('native'), [link('eth0')])).toEqual(['W201'])
  expect(codes(wanted('generic'), [link('eth0')])).toEqual([])
})

test('an attached interface is not reported again', () => {
  expect(codes(wanted('native'), [link('eth0', { up: false })], attached('native'))).toEqual([])
})

test('an interface that is down is reported', () => {
  expect(codes(wanted('generic'), [link('eth0', { up: false })])).toEqual(['W202'])
})

test('devices without native XDP are reported before the kernel refuses', () => {
  expect(codes(wanted('native'), [link('eth0', { kind: 'vlan' })])).toEqual(['W208'])
})

describe('the driver of a card', () => {
  const card = link('eth0', { kind: 'physical' })
  const about = (file: State, driver: string, own: Partial<Link> = {}, kernel = '6.1.0-56-amd64') => {
    const drivers = { kernel, names: new Map([['eth0', driver]]) }
    return plan(desired(file), live({ links: [{ ...card, ...own }], drivers }), PROGRAM).warnings
  }

  test('without native XDP on this kernel is reported, with the effect on apply', () => {
    const [failing] = about(wanted('native'), 'r8169')
    expect(failing).toMatchObject({ code: 'W208', message: expect.stringMatching(/r8169 has no native XDP.*fail$/) })
    const [falling] = about(wanted('native', 'generic'), 'gve')
    expect(falling?.message).toMatch(/native XDP since Linux 6\.4: apply will use generic mode$/)
    expect(about(wanted('native'), 'gve', {}, '6.12.9')).toEqual([])
    expect(about(wanted('generic'), 'r8169')).toEqual([])
    expect(about(wanted('native'), 'fnord')).toEqual([])
  })

  test('that accepts no such MTU is reported, with the command', () => {
    const [found] = about(wanted('native'), 'ixgbe', { mtu: 9000 })
    expect(found).toMatchObject({ code: 'W277', hint: expect.stringContaining('ip link set eth0 mtu 1500') })
    expect(about(wanted('native'), 'ixgbe', { mtu: 3000 })).toEqual([])
    expect(about(wanted('native'), 'ice', { mtu: 9000 }, '6.12.9')).toEqual([])
  })

  test('that is not known is no reason for a warning', () => {
    expect(codes(wanted('native'), [card])).toEqual([])
  })
})

describe('native mode on stacked devices', () => {
  const LACP = { mode: '802.3ad', policy: 'layer3+4' }
  const bond = (own: Partial<Link> = {}) => link('eth0', { kind: 'bond', bond: LACP, ...own })
  const below = (name: string, own: Partial<Link> = {}) =>
    link(name, { kind: 'physical', master: 'eth0', ifindex: 9, ...own })
  const about = (links: readonly Link[], names: Readonly<Record<string, string>> = {}, kernel = '6.1.0-56-amd64') => {
    const drivers = { kernel, names: new Map(Object.entries(names)) }
    return plan(desired(wanted('native')), live({ links, drivers }), PROGRAM).warnings
  }

  test('a bond whose members all have it is not reported, nor one without members or with unknown drivers', () => {
    expect(about([bond(), below('c0'), below('c1')], { c0: 'ice', c1: 'mlx5_core' })).toEqual([])
    expect(about([bond(), below('v0', { kind: 'veth' })])).toEqual([])
    expect(about([bond(), below('c0')], { c0: 'fnord' })).toEqual([])
    expect(about([bond({ bond: undefined })])).toEqual([])
  })

  test('one warning names the members of a bond and every one that refuses', () => {
    const links = [bond(), below('c0'), below('c1'), below('d0', { kind: 'ifb' })]
    expect(about(links, { c0: 'ice', c1: 'r8169' })).toEqual([
      {
        code: 'W208',
        severity: 'warning',
        message:
          'eth0: a bond has native XDP only if all its members accept it (c0 (ice), c1 (r8169), d0 (ifb)), but c1: driver r8169 has no native XDP (as of Linux 7.2), d0: a device of the kind ifb has no native XDP: apply will probably fail',
        hint: 'write `mode: generic` under eth0',
        at: expect.anything(),
      },
    ])
  })

  test.each([
    [
      'a driver that transmits no frames of others',
      { c0: 'mlx4_en' },
      {},
      /c0: driver mlx4_en cannot transmit frames of others/,
    ],
    ['a member with a program', { c0: 'ice' }, { programs: [foreign()] }, /c0: it runs a program of its own/],
  ] as const)('a bond with %s is reported', (_, names, own, message) => {
    expect(about([bond(), below('c0', own)], names)).toMatchObject([
      { code: 'W208', message: expect.stringMatching(message) },
    ])
  })

  test.each([
    [{ mode: 'balance-alb', policy: 'layer2' }, '6.1.0', /mode balance-alb has no native/, /mode to one of balance-rr/],
    [{ mode: '802.3ad', policy: 'vlan+srcmac' }, '6.1.0', /xmit_hash_policy vlan\+srcmac/, /such as layer3\+4/],
    [LACP, '5.14.0', /bonds have native XDP since Linux 5\.15/, /^write `mode: generic` under eth0$/],
  ])('a bond with %j on Linux %s is reported for itself', (settings, kernel, message, hint) => {
    const [found, ...others] = about([bond({ bond: settings }), below('c0')], { c0: 'ice' }, kernel)
    expect(others).toEqual([])
    expect(found).toMatchObject({
      code: 'W208',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    })
  })

  test('the policy matters only in modes that hash', () => {
    expect(
      about([bond({ bond: { mode: 'active-backup', policy: 'vlan+srcmac' } }), below('c0')], { c0: 'ice' }),
    ).toEqual([])
  })

  test('a member with an MTU that its driver does not accept is named, and the bond is what to change', () => {
    const links = [bond({ mtu: 9000 }), below('c0', { mtu: 9000 })]
    expect(about(links, { c0: 'igb' })).toMatchObject([
      {
        code: 'W277',
        message: expect.stringMatching(/^eth0: member c0 has an MTU of 9000: .* driver igb/),
        hint: expect.stringMatching(/^ip link set eth0 mtu 1500/),
      },
    ])
  })

  test('a VLAN device points to the device below it, if that one has native XDP', () => {
    const vlan = link('eth0', { kind: 'vlan', below: 'c0' })
    const hint = (names: Readonly<Record<string, string>>, ...others: Link[]) =>
      about([vlan, ...others], names)[0]?.hint
    expect(hint({ c0: 'ice' }, link('c0', { kind: 'physical' }))).toMatch(
      /or name c0 \(ice\) instead: the filter parses VLAN tags$/,
    )
    expect(hint({ c0: 'r8169' }, link('c0', { kind: 'physical' }))).toMatch(
      /: c0 below it has no native XDP either \(driver r8169/,
    )
    const below = link('c0', { kind: 'bond', bond: { mode: 'broadcast', policy: '' } })
    expect(hint({}, below)).toMatch(/: c0 below it has no native XDP either \(a bond in mode broadcast/)
    expect(hint({})).toMatch(/or attach to its parent/)
  })

  test('a bridge names its ports, and those that have native XDP in its place', () => {
    const bridge = link('eth0', { kind: 'bridge' })
    const [found] = about([bridge, below('c0'), below('c1'), below('v0', { kind: 'veth' })], { c0: 'ice', c1: 'r8169' })
    expect(found).toMatchObject({
      code: 'W208',
      message: expect.stringMatching(
        /has no native XDP; its ports are c0 \(ice\), c1 \(r8169\), v0 \(veth\): apply will/,
      ),
      hint: 'write `mode: generic` under eth0, or name its ports instead: c0 (ice)',
    })
    expect(about([bridge, below('c1')], { c1: 'r8169' })[0]?.hint).toMatch(
      /: no port of the bridge to the network has native XDP$/,
    )
  })
})

test('a mode other than the first choice stays, with a hint to switch', () => {
  const [warning] = warnings(wanted('native', 'generic'), [link('eth0')], attached('generic'))
  expect(warning).toMatchObject({ code: 'W203', hint: 'to let apply switch it, write `mode: native`' })
})

test('a bond member is reported if another member is not filtered', () => {
  const bond = link('bond0', { kind: 'bond' })
  const member = link('eth0', { kind: 'physical', master: 'bond0' })
  const other = link('eth1', { kind: 'physical', master: 'bond0' })
  expect(codes(wanted('generic'), [bond, member])).toEqual([])
  const [warning] = warnings(wanted('generic'), [bond, member, other])
  expect(warning).toMatchObject({ code: 'W204' })
  expect(warning?.hint).toContain('eth1')
})

test('a bridge port is reported, because it filters forwarded frames too', () => {
  const links = [link('br0', { kind: 'bridge' }), link('eth0', { master: 'br0' })]
  expect(codes(wanted('generic'), links)).toEqual(['W204'])
})

test('a skipped interface is reported, and that no interface is left', () => {
  expect(codes(wanted('generic'), [], undefined, 'skip')).toEqual(['W200', 'W207'])
})

test('a different ABI restarts counters, with a warning', () => {
  const now = { ...attached('generic'), program: { digest: 'ff', abi: 0 } }
  expect(codes(wanted('generic'), [link('eth0')], now)).toEqual(['W206'])
})

test('default drop without an allowlist entry is reported, as a whole or for the interfaces without one', () => {
  const shut = (...interfaces: string[]) =>
    warnings(
      state({
        policy: 'drop',
        interfaces: { eth0: ['generic'], eth1: ['generic'] },
        lists: interfaces.map((name) =>
          list('allowlist', `list-${name}`, scoped(name === 'any' ? ANY : { ...ANY, interfaces: [name] }, '192.0.2.1')),
        ),
      }),
      [link('eth0'), link('eth1', { ifindex: 9 })],
    ).filter(({ code }) => code === 'W205')
  expect(shut()).toMatchObject([{ code: 'W205', message: expect.stringContaining('the allowlist is empty') }])
  expect(shut('eth0')).toMatchObject([{ code: 'W205', message: expect.stringMatching(/applies on eth1$/) }])
  expect(shut('eth0', 'eth1')).toEqual([])
  expect(shut('eth0', 'any')).toEqual([])
})

test('entries for packets without a socket are reported where connections may have none, and refused below a VRF', () => {
  const stray = (...interfaces: readonly string[]): List =>
    block('stray', ['0.0.0.0/0', { ...scope(6), socket: 'none', ...(interfaces.length > 0 && { interfaces }) }])
  const on = (entry: List, links: readonly Link[], forwards = { v4: false, v6: false }) => {
    const file = { ...state({ policy: 'pass', interfaces: { eth0: ['generic'] } }), lists: new Map([['stray', entry]]) }
    const [wanted, now] = [desired(file), live({ links, forwards })]
    return [...plan(wanted, now, PROGRAM).warnings, ...guard(wanted, now)].map(
      ({ code, message }) => `${code} ${message}`,
    )
  }
  const tagged = link('eth0.5', { kind: 'vlan', below: 'eth0', ifindex: 7 })
  expect(on(stray(), [link('eth0')])).toEqual([])
  expect(on(stray(), [link('eth0')], { v4: true, v6: true })).toEqual([
    expect.stringMatching(/^W254 this host forwards IPv4 and IPv6: /),
  ])
  expect(on(block('other', '192.0.2.1'), [link('eth0'), tagged], { v4: true, v6: true })).toEqual([])
  expect(on(stray(), [link('eth0'), tagged])).toEqual([
    expect.stringMatching(/^W255 .* on eth0, which receives packets for eth0\.5: /),
  ])
  expect(on(stray('eth9'), [link('eth0'), tagged])).toEqual([])
  const blue = link('blue', { kind: 'vrf', ifindex: 8 })
  const inVrf = expect.stringMatching(/^E251 .* on eth0, which receives packets for VRF blue: /)
  expect(on(stray(), [link('eth0', { master: 'blue' }), blue])).toContainEqual(inVrf)
  expect(on(stray(), [link('eth0'), { ...tagged, master: 'blue' }, blue])).toContainEqual(inVrf)
  const bond = [link('eth0', { kind: 'bond' }), link('eth1', { kind: 'physical', master: 'eth0', ifindex: 9 })]
  expect(on(stray(), bond)).toContainEqual(expect.stringMatching(/^W255 .* receives packets for eth0: /))
})

test('entries and limits for a VLAN are reported where the tags are taken out of the frames', () => {
  const match = { vlan: { first: 5, last: 5 } }
  const on = (scope: Scope, stripping: ReadonlyMap<string, readonly string[]>) => {
    const file = {
      ...state({ policy: 'pass', interfaces: { eth0: ['generic'], eth1: ['generic'] } }),
      lists: new Map([['guests', block('guests', ['0.0.0.0/0', scope])]]),
      rateLimits: new Map([['lan', { ...rateLimit('lan'), scope: { ...ANY, match } }]]),
    }
    const links = [link('eth0', { kind: 'bond' }), link('eth1', { ifindex: 9 })]
    return plan(desired(file), live({ links, stripping }), PROGRAM)
      .warnings.filter(({ code }) => code === 'W253')
      .map(({ message, hint }) => [message, hint])
  }
  const taken = new Map([['eth0', ['ens1', 'ens2']]])
  const why = 'ens1 and ens2 take VLAN tags out of received frames before XDP (rx-vlan-offload), so'
  const hint = 'ethtool -K ens1 rxvlan off && ethtool -K ens2 rxvlan off'
  expect(on({ ...ANY, match }, taken)).toEqual([
    [`${why} \`vlan\` of list guests and rate limit lan matches no packet on eth0`, hint],
  ])
  expect(on({ ...ANY, match, interfaces: ['eth1'] }, taken)).toEqual([
    [`${why} \`vlan\` of rate limit lan matches no packet on eth0`, hint],
  ])
  const drivers = { kernel: '6.12.1', names: new Map([['ens1', 'mana']]) }
  expect(hintOfTags(['ens1', 'ens2'], { drivers })).toContain('driver mana cannot turn it off on ens1')
  expect(hintOfTags(['ens2'], { drivers })).toBe('ethtool -K ens2 rxvlan off')
  expect(on({ ...ANY, match }, new Map())).toEqual([])
})
