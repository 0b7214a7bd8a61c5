import { describe, expect, test } from 'vitest'
import type { RateLimit } from '../../../src/model/rate-limit.ts'
import type { State } from '../../../src/model/state.ts'
import type { Change } from '../../../src/plan/change.ts'
import { diff } from '../../../src/plan/diff.ts'
import { plan, planDestroy } from '../../../src/plan/plan.ts'
import {
  ANY,
  addresses,
  DNS,
  desired,
  foreign,
  link,
  list,
  live,
  PROGRAM,
  rateLimit,
  scoped,
  state,
} from '../../support/states.ts'

const BLOCK = list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24'))
const ONE = state({ program: PROGRAM, policy: 'pass', interfaces: { eth0: ['native'] }, lists: [BLOCK] })

const brief = (changes: readonly Change[]) =>
  changes.map(({ op, key, impact, reason }) => `${op} ${key} ${impact} ${reason}`)

describe('diff', () => {
  test('an empty kernel needs every object, in the order that traffic needs', () => {
    const { changes } = plan(desired(ONE), live({ links: [link('eth0')] }), PROGRAM)
    expect(brief(changes)).toEqual([
      'create program hitless new-in-config',
      'create policy hitless new-in-config',
      'create list:blocklist hitless new-in-config',
      'create interface:eth0 hitless new-in-config',
    ])
  })

  test('equal states need no change', () => {
    expect(diff(ONE, live({ state: ONE }))).toEqual([])
  })

  test('destroy deletes everything, interfaces first and the program last', () => {
    const { changes } = planDestroy(live({ state: ONE }))
    expect(brief(changes)).toEqual([
      'delete interface:eth0 hitless destroy',
      'delete list:blocklist hitless destroy',
      'delete policy hitless destroy',
      'delete program hitless destroy',
    ])
  })

  test('lists are compared by addresses: order, duplicates and the split into prefixes do not matter', () => {
    const cut = list('blocklist', 'blocklist', scoped(ANY, '198.51.100.128/25', '198.51.100.0/25', '198.51.100.7'))
    expect(diff({ ...ONE, lists: new Map([['blocklist', cut]]) }, live({ state: ONE }))).toEqual([])
  })

  test('a delta has exactly the added and removed addresses, per scope', () => {
    const after = list(
      'blocklist',
      'blocklist',
      scoped(ANY, '198.51.100.0/25', '2001:db8::/32'),
      scoped(DNS, '192.0.2.1'),
    )
    const [change] = diff({ ...ONE, lists: new Map([['blocklist', after]]) }, live({ state: ONE }))
    expect(change).toMatchObject({ op: 'update', impact: 'hitless', reason: 'config-changed' })
    expect(change?.delta).toEqual([
      { scope: 'any', ...deltaOf(['2001:db8::/32'], ['198.51.100.128/25']) },
      { scope: 'udp sport 53', ...deltaOf(['192.0.2.1'], []) },
    ])
  })

  test('turning a blocklist into an allowlist is an update without a delta', () => {
    const allow = list('allowlist', 'blocklist', ...BLOCK.sets)
    const [change] = diff({ ...ONE, lists: new Map([['blocklist', allow]]) }, live({ state: ONE }))
    expect(change).toMatchObject({ op: 'update', delta: [] })
  })

  test('rate limits judge between blocklists and services, in the order of the file', () => {
    const limits = [rateLimit('a', { position: 1 }), rateLimit('b')]
    const both = state({ ...parts(ONE), interfaces: { eth0: ['native'] }, rateLimits: limits })
    expect(brief(plan(desired(both), live({ links: [link('eth0')] }), PROGRAM).changes)).toEqual([
      'create program hitless new-in-config',
      'create policy hitless new-in-config',
      'create list:blocklist hitless new-in-config',
      'create rate_limit:b hitless new-in-config',
      'create rate_limit:a hitless new-in-config',
      'create interface:eth0 hitless new-in-config',
    ])
    expect(brief(diff(both, live({ state: both })))).toEqual([])
    expect(brief(planDestroy(live({ state: both })).changes).map((text) => text.split(' ')[1])).toEqual([
      'interface:eth0',
      'rate_limit:b',
      'rate_limit:a',
      'list:blocklist',
      'policy',
      'program',
    ])
  })

  test.each<[string, Partial<RateLimit>]>([
    ['its place', { position: 1 }],
    ['the packets that it counts', { scope: DNS }],
    ['its interfaces', { scope: { ...ANY, interfaces: ['eth0'] } }],
    ['its sources', { sources: addresses('192.0.2.0/24') }],
    ['what shares a rate', { per: 'service' }],
    ['a length', { prefix: { v4: 32, v6: 56 } }],
    ['a rate', { packets: { perSecond: 1001, burst: 1000 } }],
    ['a burst', { packets: { perSecond: 1000, burst: 1001 } }],
    ['a rate of bits', { bits: { perSecond: 1000, burst: 12_112 } }],
    ['the unit of its rate', { packets: undefined, bits: { perSecond: 1000, burst: 1000 } }],
    ['its action', { action: 'observe' }],
    ['the number of buckets', { buckets: 1024 }],
  ])('a rate limit that differs in %s is updated in place', (_, own) => {
    const before = state({ rateLimits: [rateLimit('dns')] })
    const after = state({ rateLimits: [rateLimit('dns', own)] })
    expect(brief(diff(after, live({ state: before })))).toEqual(['update rate_limit:dns hitless config-changed'])
  })

  test('lengths of prefixes do not matter to a rate limit of all packets', () => {
    const [before, after] = [32, 24].map((v4) =>
      state({ rateLimits: [rateLimit('dns', { per: 'all', prefix: { v4, v6: 64 } })] }),
    )
    expect(diff(after as State, live({ state: before as State }))).toEqual([])
  })

  test('a live mode among the desired ones is in sync', () => {
    const flexible = state({ ...parts(ONE), interfaces: { eth0: ['offload', 'native'] } })
    expect(diff(flexible, live({ state: ONE }))).toEqual([])
  })

  test('a live mode outside the desired ones is replaced, with a traffic gap', () => {
    const generic = state({ ...parts(ONE), interfaces: { eth0: ['generic'] } })
    expect(brief(diff(generic, live({ state: ONE })))).toEqual(['replace interface:eth0 traffic-gap mode-changed'])
  })

  test('native XDP on a physical card may bounce the link, generic XDP does not', () => {
    const links = [link('eth0', { kind: 'physical' }), link('eth1', { kind: 'physical' })]
    const two = state({ ...parts(ONE), interfaces: { eth0: ['native', 'generic'], eth1: ['generic'] } })
    const changes = diff(two, live({ state: { ...ONE, interfaces: new Map() }, links }))
    expect(brief(changes)).toEqual([
      'create interface:eth0 link-bounce new-in-config',
      'create interface:eth1 hitless new-in-config',
    ])
  })

  test('a new build of the program is an update, one with a different ABI a replacement', () => {
    const built = (digest: string, abi: number) => diff({ ...ONE, program: { digest, abi } }, live({ state: ONE }))
    expect(brief(built('ff', 1))).toEqual(['update program hitless program-changed'])
    expect(brief(built('ff', 2))).toEqual(['replace program hitless program-changed'])
  })
})

describe('drift', () => {
  test('sets the reason of a change', () => {
    const detached = { ...ONE, interfaces: new Map() }
    const drift = new Map([['interface:eth0', 'detached'] as const])
    const { changes, drift: reported } = plan(
      desired(ONE),
      live({ state: detached, links: [link('eth0')], drift }),
      PROGRAM,
    )
    expect(brief(changes)).toEqual(['create interface:eth0 hitless drift'])
    expect(reported).toEqual([{ key: 'interface:eth0', what: 'detached' }])
  })

  test('an object that drifted to the desired value is written again, so that the record is right', () => {
    const drift = new Map([['list:blocklist', 'written to'] as const])
    expect(brief(diff(ONE, live({ state: ONE, drift })))).toEqual(['update list:blocklist hitless drift'])
  })

  test('an interface that runs an uncommitted generation is attached again', () => {
    const own = foreign({ generation: 7 })
    const changes = diff(ONE, live({ state: ONE, links: [link('eth0', { programs: [own] })] }))
    expect(brief(changes)).toEqual(['update interface:eth0 hitless drift'])
  })

  test('a program that a killed apply left on an interface outside the file is detached', () => {
    const stray = link('eth9', { programs: [foreign({ generation: 2, mode: 'generic' })] })
    const changes = diff(ONE, live({ state: ONE, links: [link('eth0'), stray] }))
    expect(changes).toMatchObject([{ op: 'delete', key: 'interface:eth9', before: { modes: ['generic'] } }])
  })
})

describe('foreign programs', () => {
  const before = { ...ONE, interfaces: new Map() }

  test('are reported as displaced; in the same mode the kernel swaps the two', () => {
    const links = [link('eth0', { programs: [foreign()] })]
    const [change] = diff(ONE, live({ state: before, links }))
    expect(change).toMatchObject({ op: 'create', impact: 'hitless', displaces: [{ id: 42 }] })
  })

  test('in a different mode are detached first, which leaves a traffic gap', () => {
    const links = [link('eth0', { programs: [foreign({ mode: 'generic' })] })]
    expect(diff(ONE, live({ state: before, links }))[0]).toMatchObject({ op: 'create', impact: 'traffic-gap' })
  })

  test('beside ours cause an update', () => {
    const programs = [foreign({ mode: 'offload' }), foreign({ id: 7, generation: 1 })]
    const [change] = diff(ONE, live({ state: ONE, links: [link('eth0', { programs })] }))
    expect(change).toMatchObject({ op: 'update', displaces: [{ id: 42, mode: 'offload' }] })
  })

  test('on interfaces outside the file are ignored', () => {
    const links = [link('eth0'), link('eth1', { programs: [foreign()] })]
    expect(diff(ONE, live({ state: ONE, links }))).toEqual([])
  })
})

function parts(from: typeof ONE) {
  return { program: from.program, policy: from.policy?.default, lists: [...from.lists.values()] }
}

function deltaOf(added: readonly string[], removed: readonly string[]) {
  return { added: scoped(ANY, ...added).addresses, removed: scoped(ANY, ...removed).addresses }
}
