// MTUs of next hops: of the route, or of the file, and tunnels through routers that cannot report a smaller one.

import { describe, expect, test } from 'vitest'
import type { Service } from '../../../src/model/service.ts'
import { hopDrift, withNextHops } from '../../../src/plan/next-hops.ts'
import { plan } from '../../../src/plan/plan.ts'
import { address, backend, EGRESS, service } from '../../support/services.ts'
import { desired, link, live, PROGRAM, state } from '../../support/states.ts'

const [NEAR, FAR] = ['10.0.0.1', '10.9.0.1']
type Fields = Parameters<typeof service>[2]
const web = (fields: Fields = {}): Service =>
  service('web', '192.0.2.10 443', { forwarding: 'ipip', backends: [NEAR, FAR], ...fields })
const hops = (mtu: number) => new Map([NEAR, FAR].map((text) => [text, { ...EGRESS, mtu }]))

/** The service with the next hops of a kernel whose routes have this MTU. */
const resolved = (one: Service, mtu = 1500): Service =>
  withNextHops(new Map([['web', one]]), { nextHops: hops(mtu) }).get('web') as Service
const mtusOf = ({ backends }: Service) => backends.map(({ nextHop }) => nextHop?.mtu)

describe('the MTU towards backends', () => {
  test('is that of the file, if the next hop has no smaller one', () => {
    expect(mtusOf(resolved(web()))).toEqual([1500, 1500])
    expect(mtusOf(resolved(web({ mtu: 1400 })))).toEqual([1400, 1400])
    expect(mtusOf(resolved(web({ mtu: 9000 })))).toEqual([1500, 1500])
    const one = web({ mtu: 1400 })
    expect([1500, 1300, 1500].map((mtu) => mtusOf(resolved(one, mtu))[0])).toEqual([1400, 1300, 1400])
  })

  test('is that of the backend, before that of its service, if the next hop has no smaller one', () => {
    const both = [NEAR, backend(FAR, { mtu: 1300 })]
    expect(mtusOf(resolved(web({ backends: both })))).toEqual([1500, 1300])
    expect(mtusOf(resolved(web({ backends: both, mtu: 1280 })))).toEqual([1280, 1300])
    expect(mtusOf(resolved(web({ backends: both, mtu: 1400 }), 1200))).toEqual([1200, 1200])
    const applied = resolved(web({ backends: both, mtu: 1400 }))
    expect(hopDrift(applied, { nextHops: hops(9000) })).toBeUndefined()
    expect(hopDrift(applied, { nextHops: hops(1350) })).toContain('backend 10.0.0.1: MTU changed 1400 -> 1350')
  })

  test('is no drift while the file limits it, and is drift once the network does', () => {
    const applied = resolved(web({ mtu: 1400 }))
    expect(hopDrift(applied, { nextHops: hops(9000) })).toBeUndefined()
    expect(hopDrift(applied, { nextHops: hops(1300) })).toContain('MTU changed 1400 -> 1300')
  })
})

/** A plan from one service to another, on a host whose routes have this MTU. */
function planned(
  before: Service | undefined,
  after: Service,
  { mtu = 1500, gateways = new Map([[FAR, '10.0.0.254']]) },
) {
  const interfaces = { [EGRESS.interface]: ['native' as const] }
  const facts = live({
    state: before ? state({ interfaces, services: [resolved(before, mtu)] }) : state({ interfaces }),
    links: [link(EGRESS.interface, { mtu: 1500 })],
    nextHops: hops(mtu),
    gateways,
  })
  return plan(desired(state({ interfaces, services: [after] })), facts, PROGRAM)
}

test('an edited MTU is a change of the service that keeps its flows', () => {
  const changesOf = (before: Service, after: Service) =>
    planned(before, after, {}).changes.filter(({ kind }) => kind === 'service')
  expect(changesOf(web(), web({ mtu: 1400 }))).toMatchObject([
    { op: 'update', reason: 'config-changed', impact: 'hitless' },
  ])
  expect(changesOf(web({ mtu: 1400 }), web({ mtu: 1400 }))).toEqual([])
  const own = (mtu: number | undefined) => web({ backends: [NEAR, backend(FAR, { mtu })] })
  for (const [before, after] of [
    [own(undefined), own(1300)],
    [own(1300), own(undefined)],
    // The route has a smaller one: packets are treated alike, and the file differs.
    [own(1500), own(9000)],
  ] as const) {
    const [change, ...others] = changesOf(before, after)
    expect(change).toMatchObject({ op: 'update', reason: 'config-changed', impact: 'hitless' })
    expect(change).toMatchObject({ balance: { moved: 0, backends: [{ key: FAR }] } })
    expect(others).toEqual([])
  }
  expect(changesOf(own(1300), own(1300))).toEqual([])
})

describe('W233', () => {
  const codes = (after: Service, facts: Parameters<typeof planned>[2] = {}) =>
    planned(undefined, after, facts).warnings.flatMap(({ code, message }) => (code === 'W233' ? [message] : []))

  test('names the backends behind routers whose reports go nowhere', () => {
    expect(codes(web())).toEqual([expect.stringContaining(`routers towards ${FAR} report`)])
    expect(codes(web({ forwarding: 'gue' }))).toHaveLength(1)
  })

  const own = { ...web().outerSource, v4: { address: address('10.0.0.254'), length: 32 } }
  test.each([
    ['of a forwarding without outer headers', web({ forwarding: 'nat' }), {}],
    ['of backends on the link', web(), { gateways: new Map<string, string>() }],
    ['of an outer source of its own', web({ outerSource: own }), {}],
    ['of a service with an MTU', web({ mtu: 1500 }), {}],
    ['of a backend with an MTU', web({ backends: [NEAR, backend(FAR, { mtu: 1500 })] }), {}],
    ['of a route with an MTU', web(), { mtu: 1400 }],
    ['of a backend without a next hop', web({ backends: [backend('10.9.0.2', { nextHop: undefined })] }), {}],
  ])('does not warn %s', (_, after, facts) => {
    expect(codes(after, facts)).toEqual([])
  })

  test('looks at the outer source of the family of the backend', () => {
    const text = '2001:db8:9::1'
    const gateways = new Map([[text, 'fe80::1']])
    const nextHops = new Map([[text, EGRESS]])
    const interfaces = { [EGRESS.interface]: ['native' as const] }
    const warned = (fields: Fields) => {
      const wanted = desired(state({ interfaces, services: [web({ ...fields, backends: [text] })] }))
      const links = [link(EGRESS.interface, { mtu: 1500 })]
      return plan(wanted, live({ links, gateways, nextHops }), PROGRAM).warnings.some(({ code }) => code === 'W233')
    }
    expect(warned({ outerSource: own })).toBe(true)
    expect(warned({ outerSource: { ...own, v6: address('2001:db8:8::') } })).toBe(false)
  })
})
