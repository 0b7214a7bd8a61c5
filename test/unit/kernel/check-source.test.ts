// The address of this host that a check through a VIP comes from.
import { describe, expect, test } from 'vitest'
import { arrivalsOf, chooseSource } from '../../../src/kernel/host/check-source.ts'
import { EGRESS } from '../../support/services.ts'

const at = (
  ifname: string,
  ...addresses: readonly [local: string, more?: { readonly scope?: string; readonly tentative?: true }][]
) => ({
  ifname,
  addr_info: addresses.map(([local, more]) => ({
    family: local.includes(':') ? 'inet6' : 'inet',
    local,
    scope: 'global',
    ...more,
  })),
})
const HOST = [
  at('lo', ['127.0.0.1', { scope: 'host' }], ['192.0.2.10']),
  at('eth0', ['198.51.100.1'], ['2001:db8::1']),
  at('eth1', ['10.0.0.1'], ['fe80::1', { scope: 'link' }], ['2001:db8:1::9', { tentative: true }], ['2001:db8:1::1']),
]
const VIPS = new Set(['192.0.2.10'])
const query = (family: 4 | 6, backendFamily: 4 | 6 = family) => ({ backend: 'b', family, backendFamily })

test('the choice of the kernel for the route, if that is of the family and no VIP', () => {
  expect(chooseSource(query(4), { dev: 'eth1', prefsrc: '10.0.0.9' }, HOST, VIPS)).toBe('10.0.0.9')
  expect(chooseSource(query(4), { dev: 'eth1', prefsrc: '192.0.2.10' }, HOST, VIPS)).toBe('10.0.0.1')
})

test('else a lasting address of the interface towards the backend, then of another one', () => {
  expect(chooseSource(query(6, 4), { dev: 'eth1', prefsrc: '10.0.0.1' }, HOST, VIPS)).toBe('2001:db8:1::1')
  expect(chooseSource(query(4, 6), { dev: 'eth0', prefsrc: '2001:db8::1' }, HOST, VIPS)).toBe('198.51.100.1')
  expect(chooseSource(query(6), undefined, HOST, VIPS)).toBe('2001:db8::1')
  expect(chooseSource(query(4), { dev: 'eth2', prefsrc: undefined }, HOST, VIPS)).toBe('198.51.100.1')
})

test('a host without an address of the family has none', () => {
  expect(chooseSource(query(6), undefined, [HOST[0] as (typeof HOST)[0]], VIPS)).toBeUndefined()
})

describe('answers arrive', () => {
  const on = (ifindex: number, repliesFrom: 'route' | 'anywhere' = 'route') => ({
    service: { repliesFrom },
    backend: { nextHop: ifindex === 0 ? undefined : { ...EGRESS, ifindex } },
  })
  const from = (address: string, isOnRoute = true) => ({ address, isOnRoute })
  const arrivals = (...pairs: readonly (readonly [ReturnType<typeof on>, ReturnType<typeof from> | undefined])[]) =>
    Object.fromEntries(
      arrivalsOf(
        pairs.map(([backend]) => backend),
        pairs.map(([, source]) => source),
      ),
    )

  test('where the routes to all backends of a source lead', () => {
    expect(arrivals([on(7), from('a')], [on(7), from('a')], [on(8), from('b')])).toEqual({ a: 7, b: 8 })
    expect(arrivals([on(0), from('a')], [on(7), from('a')], [on(7), undefined])).toEqual({ a: 7 })
  })

  test.each([
    [
      'the routes differ',
      [
        [on(7), from('a')],
        [on(8), from('a')],
      ],
    ],
    [
      'the routes differ and agree again',
      [
        [on(7), from('a')],
        [on(8), from('a')],
        [on(7), from('a')],
      ],
    ],
    [
      'a service expects replies from anywhere',
      [
        [on(7), from('a')],
        [on(7, 'anywhere'), from('a')],
      ],
    ],
    ['another interface has the address', [[on(7), from('a', false)]]],
  ] as const)('anywhere if %s', (_, pairs) => {
    expect(arrivals(...pairs)).toEqual({ a: 0 })
  })
})
