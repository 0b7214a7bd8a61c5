import { describe, expect, test } from 'vitest'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { backendKey, type Service } from '../../../src/model/service.ts'
import { diff } from '../../../src/plan/diff.ts'
import { deadlinesOf, leavingOf } from '../../../src/plan/leaving.ts'
import { plan } from '../../../src/plan/plan.ts'
import { diffService, serviceDelta } from '../../../src/plan/services.ts'
import { flowShares, movedShare } from '../../../src/plan/shares.ts'
import { ringOf } from '../../../src/semantics/maglev.ts'
import { backend, EGRESS, service } from '../../support/services.ts'
import { desired, live, PROGRAM, state } from '../../support/states.ts'

const web = (fields: Parameters<typeof service>[2] = {}): Service =>
  service('web', '192.0.2.10 443', { backends: ['10.0.0.1', '10.0.0.2', '10.0.0.3'], ...fields })

const change = (before: Service, after: Service) => diffService('web', before, after, false)[0]

describe('the share of new flows that moves', () => {
  test('is the part in which two tables differ', () => {
    const [before, after] = [web(), web({ backends: ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'] })]
    const owner = (one: Service, slot: number): string =>
      backendKey(one.backends[ringOf(one.backends)[slot] as number] as Service['backends'][number])
    const size = ringOf(before.backends).length
    let differs = 0
    for (let slot = 0; slot < size; slot++) if (owner(before, slot) !== owner(after, slot)) differs++
    expect(movedShare(before, after)).toBe(differs / size)
    expect(movedShare(before, after)).toBeCloseTo(0.25, 1)
    expect(movedShare(after, before)).toBe(movedShare(before, after))
  })

  test('does not depend on the sizes of the tables', () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
    // 655 backends have the usual table, 656 a larger one.
    const moved = movedShare(web({ backends: many(655) }), web({ backends: many(656) })) as number
    expect(moved).toBeGreaterThan(0.9)
    expect(moved).toBeLessThan(1)
    expect(movedShare(web({ backends: many(656) }), web({ backends: many(656) }))).toBe(0)
  })

  test.each([
    [
      'is zero for a changed next hop',
      {},
      { backends: [backend('10.0.0.1', { nextHop: undefined }), '10.0.0.2', '10.0.0.3'] },
      0,
    ],
    ['is 1 if there were no backends', { backends: [] }, {}, 1],
    ['is 1 if no backend takes new flows any more', {}, { backends: [backend('10.0.0.1', { state: 'drain' })] }, 1],
    ['excludes flows that return by chance after a change of hash', {}, { hash: 'source' as const }, 2 / 3],
    ['is computed alike if flows had no fixed backend before', { scheduler: 'random' as const }, {}, 2 / 3],
    ['is undefined if flows have no fixed backend', {}, { scheduler: 'random' as const }, undefined],
  ])('%s', (_, before, after, moved) => {
    const found = movedShare(web(before), web(after))
    if (moved === undefined) expect(found).toBeUndefined()
    else expect(found).toBeCloseTo(moved, 6)
  })

  test('a delta has this share, also if it does not compare tables', () => {
    const kept = [backend('10.0.0.1', { nextHop: undefined }), '10.0.0.2', '10.0.0.3']
    const others = [
      { backends: kept },
      { backends: ['10.0.0.3', '10.0.0.1', '10.0.0.2'] },
      { backends: ['10.0.0.1', '10.0.0.2'] },
      { backends: [backend('10.0.0.1', { weight: 2 }), '10.0.0.2', '10.0.0.3'] },
      { backends: kept, hash: 'source' as const },
      { backends: kept, scheduler: 'random' as const },
    ]
    for (const after of others.map(web)) expect(serviceDelta(web(), after).moved).toBe(movedShare(web(), after))
  })

  test('shares follow the weights of backends that take new flows', () => {
    const backends = [
      backend('10.0.0.1', { weight: 3 }),
      '10.0.0.2',
      backend('10.0.0.3', { weight: 9, state: 'drain' }),
    ]
    expect(flowShares(web({ backends }))).toEqual([0.75, 0.25, 0])
    expect(flowShares(web({ backends: [] }))).toEqual([])
  })
})

describe('the impact on flows', () => {
  const others = ['10.0.0.2', '10.0.0.3']
  test.each([
    ['a backend added', { backends: [...others, '10.0.0.1', '10.0.0.4'] }, 'new-flows'],
    ['a changed weight', { backends: [...others, backend('10.0.0.1', { weight: 2 })] }, 'new-flows'],
    ['a backend drained', { backends: [...others, backend('10.0.0.1', { state: 'drain' })] }, 'new-flows'],
    ['a backend removed', { backends: others }, 'new-flows'],
    ['a backend disabled', { backends: [...others, backend('10.0.0.1', { state: 'disabled' })] }, 'traffic-gap'],
    ['a next hop lost', { backends: [...others, backend('10.0.0.1', { nextHop: undefined })] }, 'traffic-gap'],
    [
      'a changed MAC',
      { backends: [...others, backend('10.0.0.1', { nextHop: { ...EGRESS, mac: '020000000001' } })] },
      'hitless',
    ],
    [
      'every weight doubled',
      { backends: ['10.0.0.1', ...others].map((text) => backend(text, { weight: 2 })) },
      'hitless',
    ],
    ['a changed timeout', { udpTimeout: 60, drainTimeout: 5 }, 'hitless'],
    ['a changed hash', { hash: 'source' }, 'traffic-gap'],
    ['a changed forwarding', { forwarding: 'dsr' }, 'traffic-gap'],
    ['a source pool', { snatPool: ['192.0.2.20'] }, 'traffic-gap'],
  ] as const)('%s: %j is %s', (_, fields, impact) => {
    expect(change(web(), web(fields as Parameters<typeof service>[2]))?.impact).toBe(impact)
  })

  test('a source pool that grows keeps flows, one that shrinks does not', () => {
    const [small, large] = [web({ snatPool: ['192.0.2.20'] }), web({ snatPool: ['192.0.2.20', '192.0.2.21'] })]
    expect(change(small, large)?.impact).toBe('hitless')
    expect(change(large, small)?.impact).toBe('traffic-gap')
  })

  test('a source pool that gets ports of the host is drift, and keeps flows', () => {
    const hostPorts = { first: 32_768, last: 60_999 }
    const [before] = [web({ snatPool: ['192.0.2.20'] })]
    const after = { ...before, snatPool: before.snatPool.map((own) => ({ ...own, hostPorts })) }
    expect(change(before, after)).toMatchObject({ op: 'update', reason: 'drift', impact: 'hitless' })
  })

  test('a port range that grows keeps flows, one that moves does not', () => {
    const ports = (first: number, last: number): Service => ({ ...web(), ports: [{ first, last }] })
    expect(change(ports(80, 89), ports(80, 99))?.impact).toBe('hitless')
    expect(change(ports(80, 99), ports(80, 89))?.impact).toBe('traffic-gap')
  })

  test('ports and protocols that are added keep flows, those that are removed do not', () => {
    const at = (ports: string, ...protocols: Service['protocols']): Service =>
      service('web', `192.0.2.10 ${ports}`, { backends: ['10.0.0.11'], protocols })
    const impact = (before: Service, after: Service) => change(before, after)?.impact
    expect(impact(at('443', 'tcp'), at('80,443', 'tcp', 'udp'))).toBe('hitless')
    expect(impact(at('80-82', 'tcp'), at('80,81,82', 'tcp'))).toBe('hitless')
    expect(impact(at('80-82', 'tcp'), at('80,82', 'tcp'))).toBe('traffic-gap')
    expect(impact(at('80,443', 'tcp'), at('443', 'tcp'))).toBe('traffic-gap')
    expect(impact(at('443', 'tcp', 'udp'), at('443', 'udp'))).toBe('traffic-gap')
  })

  test('a port added beside backends with a port of their own ends flows, as answers would get another port', () => {
    const at = (ports: string, of: string): Service => service('web', `192.0.2.10 ${ports}`, { backends: [of] })
    expect(change(at('443', '10.0.0.11 8443'), at('80,443', '10.0.0.11'))?.impact).toBe('traffic-gap')
  })

  test('backups take no new flows: adding one moves none, and a backend that becomes one loses its share', () => {
    const of = (...backups: boolean[]): Service =>
      service('web', '192.0.2.10 80', {
        backends: backups.map((backup, i) => backend(`10.0.0.${11 + i}`, { backup })),
      })
    expect(change(of(false, false), of(false, false, true))).toMatchObject({ impact: 'hitless', balance: { moved: 0 } })
    const demoted = change(of(false, false), of(false, true))
    expect(demoted).toMatchObject({ impact: 'new-flows', reason: 'config-changed' })
    expect((demoted as { balance: { moved: number } }).balance.moved).toBeCloseTo(0.5, 2)
  })

  test('equal services need no change; a drifted one is written again', () => {
    expect(diffService('web', web(), web(), false)).toEqual([])
    expect(diffService('web', web(), web(), true)).toMatchObject([{ op: 'update', reason: 'drift', impact: 'hitless' }])
  })

  test('a changed next hop is drift, not an edit', () => {
    const moved = web({ backends: [backend('10.0.0.1', { nextHop: { ...EGRESS, vlan: 7 } }), ...others] })
    expect(change(web(), moved)).toMatchObject({ reason: 'drift' })
  })
})

describe('backends that leave', () => {
  const facts = (before: Service, rest: Parameters<typeof live>[0] = {}) =>
    live({ state: state({ services: [before] }), bootSeconds: 1000, ...rest })
  const leaving = (before: Service, after: Service, rest: Parameters<typeof live>[0] = {}) =>
    leavingOf(state({ services: [after] }), facts(before, rest)).map(
      (one) => `${backendKey(one.backend)} until ${one.deadline}`,
    )
  const fewer = { backends: ['10.0.0.2', '10.0.0.3'] }

  test('keep their flows for five minutes, or for the drain_timeout', () => {
    expect(leaving(web(), web(fewer))).toEqual(['10.0.0.1 until 1300'])
    expect(leaving(web(), web({ ...fewer, drainTimeout: 60 }))).toEqual(['10.0.0.1 until 1060'])
    expect(leaving(web(), web({ ...fewer, drainTimeout: 0 }))).toEqual([])
  })

  test('are dropped at once if they had no flows, or if the flows end anyway', () => {
    const disabled = backend('10.0.0.1', { state: 'disabled' })
    const unreachable = backend('10.0.0.1', { nextHop: undefined })
    expect(leaving(web({ backends: [...fewer.backends, disabled] }), web(fewer))).toEqual([])
    expect(leaving(web({ backends: [...fewer.backends, unreachable] }), web(fewer))).toEqual([])
    expect(leaving(web(), web({ ...fewer, hash: 'source' }))).toEqual([])
  })

  test('keep the deadline of their drain if it is earlier', () => {
    const deadlines = new Map([['web/10.0.0.1', 1100]])
    expect(leaving(web(), web(fewer), { deadlines })).toEqual(['10.0.0.1 until 1100'])
  })

  test('stay through later edits until their deadline, or until they are back', () => {
    const earlier = [{ service: 'web', backend: backend('10.0.0.9'), deadline: 1200 }]
    expect(leaving(web(), web(), { leaving: earlier })).toEqual(['10.0.0.9 until 1200'])
    expect(leaving(web(), web(), { leaving: earlier, bootSeconds: 1200 })).toEqual([])
    expect(leaving(web(), web({ backends: ['10.0.0.9'] }), { leaving: earlier })).not.toContain('10.0.0.9 until 1200')
    expect(leavingOf(state({}), facts(web(), { leaving: earlier }))).toEqual([])
  })

  test('end at once if their replies could be confused with those of another service', () => {
    const other = service('other', '192.0.2.11 443', { backends: ['10.0.0.1'] })
    const after = state({ services: [web(fewer), other] })
    expect(leavingOf(after, facts(web()))).toEqual([])
    const elsewhere = service('other', '192.0.2.11 444', { backends: ['10.0.0.1'] })
    expect(leavingOf(state({ services: [web(fewer), elsewhere] }), facts(web()))).toHaveLength(1)
  })

  test('use the next hop that the kernel knows now', () => {
    const hop = { ...EGRESS, mac: '020000000077' }
    const nextHops = new Map([['10.0.0.1', hop]])
    const [one] = leavingOf(state({ services: [web(fewer)] }), facts(web(), { nextHops }))
    expect(one?.backend.nextHop).toEqual(hop)
  })

  test('cause no change, and keep their slots', () => {
    const slots = { ...live().slots, backends: new Map([['web/10.0.0.9', 0]]), services: new Map([['web', 0]]) }
    const earlier = [{ service: 'web', backend: backend('10.0.0.9'), deadline: 1200 }]
    const nextHops = new Map(web().backends.map((one) => [backendKey(one), one.nextHop]))
    const before = state({ program: PROGRAM, policy: 'pass', services: [web()] })
    const made = plan(desired(before), facts(web(), { state: before, leaving: earlier, slots, nextHops }), PROGRAM)
    expect(made.changes).toEqual([])
    expect(made.slots.backends.get('web/10.0.0.9')).toBe(0)
  })
})

describe('drained backends', () => {
  const drained = (drainTimeout: number | undefined) =>
    web({
      drainTimeout,
      backends: ['10.0.0.2', backend('10.0.0.1', { weight: 0 }), backend('10.0.0.3', { state: 'drain' })],
    })
  const deadlines = (before: Service, after: Service, known: ReadonlyMap<string, number> = new Map()) =>
    Object.fromEntries(
      deadlinesOf(
        state({ services: [after] }),
        live({ state: state({ services: [before] }), bootSeconds: 1000, deadlines: known }),
      ),
    )

  test('keep their flows without limit if the service has no drain_timeout', () => {
    expect(deadlines(web(), drained(undefined))).toEqual({})
  })

  test('have a deadline from the start of the drain, which later applies keep', () => {
    expect(deadlines(web(), drained(60))).toEqual({ 'web/10.0.0.1': 1060, 'web/10.0.0.3': 1060 })
    expect(deadlines(drained(60), drained(60), new Map([['web/10.0.0.1', 1010]]))).toMatchObject({
      'web/10.0.0.1': 1010,
    })
  })

  test('get a new deadline by an edited timeout, from the start of the drain', () => {
    expect(deadlines(drained(60), drained(600), new Map([['web/10.0.0.1', 1010]]))).toMatchObject({
      'web/10.0.0.1': 1550,
    })
  })
})

test('changing limits.flows forgets known flows', () => {
  const before = state({ policy: 'pass' })
  const after = { ...before, policy: { ...DEFAULT_POLICY, flows: 2048 } }
  expect(diff(after, live({ state: before }))).toMatchObject([{ kind: 'policy', impact: 'new-flows' }])
})

test('changed roles update the interface in place', () => {
  const before = state({ interfaces: { eth0: ['native'] } })
  const after = state({ interfaces: { eth0: ['native'] }, roles: ['filter'] })
  expect(diff(after, live({ state: before }))).toMatchObject([{ op: 'update', kind: 'interface', impact: 'hitless' }])
})
