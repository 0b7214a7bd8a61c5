import { describe, expect, test } from 'vitest'
import type { Role } from '../../../src/model/state.ts'
import { guard, guardNamespace } from '../../../src/plan/guard.ts'
import { service } from '../../support/services.ts'
import { desired, foreign, link, live, state } from '../../support/states.ts'

const WANTED = state({ policy: 'pass', interfaces: { eth0: ['native'] } })

describe('packets of an interface', () => {
  const of = (facts: Parameters<typeof link>[1], wanted = WANTED) =>
    guard(desired(wanted), live({ links: [link('eth0', facts)] }))
  const codes = (...args: Parameters<typeof of>) => of(...args).map(({ code }) => code)
  const serving = (roles: readonly Role[]) =>
    state({
      policy: 'pass',
      interfaces: { eth0: ['generic'] },
      roles,
      services: [service('web', '192.0.2.10 80', { backends: ['10.0.0.1'] })],
    })

  test.each([
    ['tun', 'none'],
    ['wireguard', 'none'],
    ['ppp', 'ppp'],
    ['ipip', 'ipip'],
    ['sit', 'sit'],
    ['ip6tnl', 'tunnel6'],
    ['gre', 'gre'],
    ['ip6gre', 'gre6'],
    ['gretap', 'ether'],
    ['tun', 'ether'],
    ['loopback', 'loopback'],
  ])('of kind %s with link layer %s are known', (kind, linkType) => {
    expect(of({ kind, linkType })).toEqual([])
  })

  test.each([
    ['vxlan', 'none'],
    ['xfrm', 'none'],
    ['vti', 'ipip'],
    ['ipoib', 'infiniband'],
    ['physical', 'rawip'],
    ['can', 'can'],
  ])('of kind %s with link layer %s are refused, with both', (kind, linkType) => {
    const [found] = of({ kind, linkType })
    expect(found).toMatchObject({ code: 'E213', at: { line: 4 } })
    expect(found?.message).toContain(`${kind} device with link layer ${linkType}`)
  })

  test('of a GRE tunnel without a fixed remote end begin with the outer header, and are refused', () => {
    const [found] = of({ kind: 'gre', linkType: 'gre', isMultipoint: true })
    expect(found).toMatchObject({ code: 'E213' })
    expect(found?.message).toContain('gre device without a fixed remote end')
  })

  test('without an Ethernet header cannot be balanced', () => {
    const tun = { kind: 'tun', linkType: 'none' }
    expect(codes(tun, serving(['filter', 'balance']))).toEqual(['E214'])
    expect(codes(tun, serving(['filter']))).toEqual([])
    expect(codes({}, serving(['filter', 'balance']))).toEqual([])
  })
})

describe('a foreign program', () => {
  const blocked = (facts = {}) =>
    guard(desired(WANTED), live({ links: [link('eth0', { programs: [foreign(facts)] })] }))

  test('is refused, with its identity and ways to resolve it', () => {
    const [found] = blocked()
    expect(found).toMatchObject({ code: 'E200', severity: 'error', at: { file: 'xdp.yaml', line: 4 } })
    for (const fact of ['eth0', 'id 42', 'someone_elses', 'a04f5eef06a7f555', '2023-11-14T22:13:20Z', 'native'])
      expect(found?.message).toContain(fact)
    expect(found?.hint).toContain('on_conflict: replace')
    expect(found?.hint).toContain('bpftool net detach xdpdrv dev eth0')
  })

  test.each([
    ['native', 'xdpdrv'],
    ['generic', 'xdpgeneric'],
    ['offload', 'xdpoffload'],
  ] as const)('in %s mode: the hint detaches it as %s', (mode, word) => {
    expect(blocked({ mode })[0]?.hint).toContain(`detach ${word} dev eth0`)
  })

  test('without name, tag or load time is named by its id', () => {
    const [found] = blocked({ name: '', tag: '', loadedAt: 0 })
    expect(found?.message).toContain('id 42, native mode.')
  })

  test('of libxdp is recognised by its name', () => {
    expect(blocked({ name: 'xdp_dispatcher' })[0]?.message).toContain('libxdp')
  })

  test('with the name of our program is reported as one that lost its pins', () => {
    expect(blocked({ name: 'xdp_filter' })[0]?.message).toContain('pins were lost')
  })

  test('is accepted with on_conflict: replace', () => {
    const links = [link('eth0', { programs: [foreign()] })]
    expect(guard(desired(WANTED, { eth0: { onConflict: 'replace' } }), live({ links }))).toEqual([])
  })

  test('is not reported if the program is ours', () => {
    const links = [link('eth0', { programs: [foreign({ generation: 1 })] })]
    expect(guard(desired(WANTED), live({ links }))).toEqual([])
  })
})

describe('a missing interface', () => {
  test('is refused, with a similar name as the suggestion', () => {
    const links = [link('lo'), link('eth1'), link('wlan0')]
    const [found] = guard(desired(WANTED), live({ links }))
    expect(found).toMatchObject({ code: 'E103', message: 'interface eth0 does not exist' })
    expect(found?.hint).toContain('did you mean eth1?')
    expect(found?.hint).toContain('missing: skip')
  })

  test('without a similar name is refused, with the existing interfaces', () => {
    const [found] = guard(desired(WANTED), live({ links: [link('lo'), link('wlan0'), link('br-lan')] }))
    expect(found?.hint).toContain('the interfaces are br-lan, wlan0')
  })

  test('is accepted with missing: skip', () => {
    expect(guard(desired(WANTED, { eth0: { missing: 'skip' } }), live())).toEqual([])
  })
})

describe('the wrong network namespace', () => {
  test('is refused before anything else', () => {
    const found = guard(desired(WANTED), live({ netns: 1n, ownNetns: 2n }))
    expect(found.map(({ code }) => code)).toEqual(['E201'])
    expect(found[0]?.message).toContain('namespace 1')
  })

  test('is accepted before the first apply', () => {
    expect(guardNamespace(live({ netns: undefined }))).toEqual([])
  })
})

test('all refusals are reported together, sorted by name', () => {
  const wanted = state({ interfaces: { eth2: ['native'], eth1: ['native'], eth0: ['native'] } })
  const links = [link('eth1', { programs: [foreign()] })]
  expect(guard(desired(wanted), live({ links })).map(({ code }) => code)).toEqual(['E103', 'E200', 'E103'])
})
