// The planner over random states: invariants of any reconciler, for any file and kernel.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FORWARDINGS } from '../../src/features/forwarding/forwarding.ts'
import type { AddressSet, Ranges } from '../../src/model/address.ts'
import type { Link } from '../../src/model/live.ts'
import { equals, subtract, union } from '../../src/model/ranges.ts'
import { RATE, type RateAction, type RatePer } from '../../src/model/rate-limit.ts'
import {
  type AttachMode,
  EMPTY_STATE,
  EVERY_ROLE,
  type List,
  type Scope,
  type State,
  scopeKey,
} from '../../src/model/state.ts'
import type { Change } from '../../src/plan/change.ts'
import { addressesByScope } from '../../src/plan/delta.ts'
import { diff } from '../../src/plan/diff.ts'
import { plan, planDestroy } from '../../src/plan/plan.ts'
import { patch } from '../support/patch.ts'
import { backend, service } from '../support/services.ts'
import { ANY, addresses, DNS, desired, link, list, live, PROGRAM, rateLimit, scoped, state } from '../support/states.ts'

const SCOPES: readonly Scope[] = [
  ANY,
  DNS,
  { protocol: 6, sourcePorts: [], destinationPorts: [{ first: 22, last: 22 }] },
  { protocol: 'icmp', sourcePorts: [], destinationPorts: [] },
  { ...ANY, interfaces: ['eth0', 'eth1'] },
  { ...DNS, interfaces: ['eth2'] },
]

const prefix = fc.oneof(
  fc.tuple(fc.nat(3), fc.nat(255), fc.integer({ min: 24, max: 32 })).map(([third, host, length]) => {
    const mask = 0xff & (0xff << (32 - length))
    return `192.0.${third}.${host & mask}/${length}`
  }),
  fc.tuple(fc.nat(3), fc.nat(3)).map(([first, last]) => `2001:db8:${first}::${last}`),
)

const modes = fc.constantFrom<readonly AttachMode[]>(['native'], ['generic'], ['native', 'generic'], ['offload'])

const lists = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom('blocklist', 'allowlist', 'spamhaus', 'office', 'scanners'),
      kind: fc.constantFrom<'blocklist' | 'allowlist'>('blocklist', 'allowlist'),
      sets: fc.uniqueArray(fc.tuple(fc.nat(SCOPES.length - 1), fc.array(prefix, { minLength: 1, maxLength: 6 })), {
        maxLength: 3,
        selector: ([scope]) => scope,
      }),
    }),
    { maxLength: 4, selector: ({ name }) => name },
  )
  .map((made) =>
    made.map(({ name, kind, sets }) =>
      list(kind, name, ...sets.map(([scope, texts]) => scoped(SCOPES[scope] as Scope, ...texts))),
    ),
  )

/** Few, so that their tables are built once. */
const SERVICES = [
  service('web', '192.0.2.10 80', { backends: ['10.0.0.1', '10.0.0.2'] }),
  service('web', '192.0.2.10 80', {
    backends: ['10.0.0.1', backend('10.0.0.3', { weight: 2, mtu: 1300 })],
    drainTimeout: 60,
    mtu: 1400,
  }),
  service('web', '192.0.2.10 80-90', { backends: [backend('10.0.0.2', { state: 'drain' })] }),
  service('dns', '2001:db8::53 53', { protocol: 'udp', backends: ['2001:db8:1::1'], sorry: backend('2001:db8:1::9') }),
  service('dns', '2001:db8::53 any', { protocol: 'udp', backends: [], scheduler: 'random' }),
  ...FORWARDINGS.map((forwarding) => service('mode', '192.0.2.12 80', { forwarding, backends: ['10.0.0.1'] })),
  service('full', '192.0.2.11 443', { backends: ['10.0.0.1 8443'], snatPool: ['192.0.2.20', '192.0.2.21'] }),
  service('full', '192.0.2.11 443', { backends: ['10.0.0.1 8443', '10.0.0.2'], snatPool: ['192.0.2.21'] }),
]
const services = fc.uniqueArray(fc.constantFrom(...SERVICES), { maxLength: 3, selector: ({ name }) => name })

const rates = fc.option(
  fc.record({ perSecond: fc.integer({ min: 1, max: 3 }), burst: fc.integer({ min: 1, max: 3 }) }),
  { nil: undefined, freq: 2 },
)

/** Limits in an order, of equal numbers of buckets, as every config has them. */
const rateLimits = fc
  .tuple(
    fc.constantFrom(1024, 2048),
    fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('dns', 'spamhaus', 'web'),
        scope: fc.constantFrom(...SCOPES),
        sources: fc.option(fc.array(prefix, { minLength: 1, maxLength: 3 }), { nil: undefined }),
        per: fc.constantFrom<RatePer>('source', 'destination', 'service', 'all'),
        prefix: fc.constantFrom({ v4: 32, v6: 64 }, { v4: 24, v6: 64 }),
        packets: rates,
        bits: rates,
        action: fc.constantFrom<RateAction>('drop', 'observe'),
        ban: fc.constantFrom(undefined, { forMs: 60_000, afterMs: 3000 }, { forMs: 60_000, afterMs: 1000 }),
      }),
      { maxLength: 3, selector: ({ name }) => name },
    ),
  )
  .map(([buckets, made]) =>
    made.map(({ sources, per, prefix: lengths, ban, ...own }, position) =>
      rateLimit(own.name, {
        ...own,
        per,
        buckets,
        position,
        prefix: per === 'all' ? RATE.prefix : lengths,
        ban: per === 'source' ? ban : undefined,
        sources: sources && addresses(...sources),
      }),
    ),
  )

const programs = fc.constantFrom(PROGRAM, { digest: 'ff', abi: 1 }, { digest: 'ee', abi: 2 })
const interfaces = fc.dictionary(fc.constantFrom('eth0', 'eth1', 'eth2'), modes, { noNullPrototype: true })

/** A file always names a policy. */
const wanted: fc.Arbitrary<State> = fc
  .record({
    program: programs,
    policy: fc.constantFrom<'pass' | 'drop'>('pass', 'drop'),
    interfaces,
    lists,
    rateLimits,
    services,
  })
  .map(state)

/** A live state is empty, or complete as after an apply, each interface in exactly one mode. */
const settled: fc.Arbitrary<State> = fc.oneof(
  { weight: 1, arbitrary: fc.constant(EMPTY_STATE) },
  { weight: 4, arbitrary: wanted.map(settle) },
)

function settle(from: State): State {
  const attached = [...from.interfaces].map(
    ([
      name,
      {
        modes: [first],
      },
    ]) => {
      return [name, { interface: name, modes: [first as AttachMode], roles: EVERY_ROLE }] as const
    },
  )
  return { ...from, interfaces: new Map(attached) }
}

const LINKS: readonly Link[] = ['eth0', 'eth1', 'eth2'].map((name) => link(name))
const facts = (current: State) => live({ state: current, links: LINKS })

/** Compares states by content, regardless of the order of maps. */
function same(left: State, right: State): boolean {
  const names = (map: ReadonlyMap<string, unknown>) => [...map.keys()].sort().join()
  const sets = (one: List): [string, AddressSet][] => [...addressesByScope(one)]
  const sameSet = (a: Ranges, b: Ranges) => equals(a, b)
  const sameList = (a: List, b: List | undefined): boolean =>
    b !== undefined &&
    a.kind === b.kind &&
    a.sets.map(({ scope }) => scopeKey(scope)).join() === b.sets.map(({ scope }) => scopeKey(scope)).join() &&
    sets(a).every(([scope, { v4, v6 }]) => {
      const other = addressesByScope(b).get(scope)
      return other !== undefined && sameSet(v4, other.v4) && sameSet(v6, other.v6)
    })
  return (
    JSON.stringify([left.program, left.policy]) === JSON.stringify([right.program, right.policy]) &&
    names(left.interfaces) === names(right.interfaces) &&
    [...left.interfaces].every(([name, { modes: all }]) => {
      const others = right.interfaces.get(name)?.modes ?? []
      return all.every((mode) => others.includes(mode)) || others.every((mode) => all.includes(mode))
    }) &&
    names(left.lists) === names(right.lists) &&
    [...left.lists].every(([name, one]) => sameList(one, right.lists.get(name))) &&
    JSON.stringify([...(left.rateLimits ?? [])].sort()) === JSON.stringify([...(right.rateLimits ?? [])].sort()) &&
    JSON.stringify([...left.services].sort()) === JSON.stringify([...right.services].sort())
  )
}

test('diff(x, x) is empty', () => {
  fc.assert(fc.property(settled, (both) => void expect(diff(both, facts(both))).toEqual([])))
})

test('the plan after an apply is empty', () => {
  fc.assert(
    fc.property(wanted, settled, (file, kernel) => {
      const reached = settle(patch(kernel, diff(file, facts(kernel))))
      expect(diff(file, facts(reached))).toEqual([])
    }),
  )
})

test('patch(live, diff) is the desired state', () => {
  fc.assert(
    fc.property(wanted, settled, (file, kernel) => {
      expect(same(patch(kernel, diff(file, facts(kernel))), file)).toBe(true)
    }),
  )
})

test('a list delta is exact: before - removed + added = after, and added prefixes are new', () => {
  fc.assert(
    fc.property(wanted, settled, (file, kernel) => {
      for (const change of diff(file, facts(kernel))) {
        if (change.kind !== 'list') continue
        const before = addressesByScope(change.before)
        const after = addressesByScope(change.after)
        for (const { scope, added, removed } of change.delta ?? []) {
          for (const family of ['v4', 'v6'] as const) {
            const nothing = subtract(added[family], added[family])
            const old = before.get(scope)?.[family] ?? nothing
            const next = after.get(scope)?.[family] ?? nothing
            expect(equals(union(subtract(old, removed[family]), added[family]), next)).toBe(true)
            expect(equals(subtract(added[family], old), added[family])).toBe(true)
            expect(equals(subtract(removed[family], next), removed[family])).toBe(true)
          }
        }
      }
    }),
  )
})

test('input order never changes the plan', () => {
  const shuffled = (from: State, seed: readonly number[]): State => {
    const turn = <T>(map: ReadonlyMap<string, T>) =>
      new Map(
        [...map]
          .map((entry, at) => [seed[at] ?? 0, entry] as const)
          .sort(([a], [b]) => a - b)
          .map(([, one]) => one),
      )
    return { ...from, interfaces: turn(from.interfaces), lists: turn(from.lists), services: turn(from.services) }
  }
  fc.assert(
    fc.property(wanted, settled, fc.array(fc.nat(99), { minLength: 8, maxLength: 8 }), (file, kernel, seed) => {
      const straight = plan(desired(file), facts(kernel), PROGRAM)
      const turned = facts(shuffled(kernel, seed))
      const links = new Map([...turned.links].reverse())
      const mixed = plan(desired(shuffled(file, seed)), { ...turned, links }, PROGRAM)
      expect(mixed.changes).toEqual(straight.changes)
      expect(mixed.warnings).toEqual(straight.warnings)
      expect([...mixed.slots.lists].sort()).toEqual([...straight.slots.lists].sort())
      expect([...mixed.slots.interfaces].sort()).toEqual([...straight.slots.interfaces].sort())
      expect([...mixed.slots.backends].sort()).toEqual([...straight.slots.backends].sort())
      expect(mixed.leaving).toEqual(straight.leaving)
    }),
  )
})

test('at every point of the order, all objects that an object needs exist', () => {
  const complete = (one: State): boolean =>
    one.interfaces.size === 0 || (one.program !== undefined && one.policy !== undefined)
  const check = (from: State, changes: readonly Change[]): void => {
    changes.reduce((current, change) => {
      const next = patch(current, [change])
      expect(complete(next)).toBe(true)
      return next
    }, from)
  }
  fc.assert(
    fc.property(wanted, settled, (file, kernel) => {
      check(kernel, plan(desired(file), facts(kernel), PROGRAM).changes)
      check(kernel, planDestroy(facts(kernel)).changes)
    }),
  )
})

test('an address allowed before and after is allowed at every point in between', () => {
  const allowlists = (one: State): string[] =>
    [...one.lists.values()].filter(({ kind }) => kind === 'allowlist').map(({ name }) => name)
  fc.assert(
    fc.property(wanted, settled, (file, kernel) => {
      const { changes } = plan(desired(file), facts(kernel), PROGRAM)
      const firstDrop = changes.findIndex((change) => change.kind === 'policy' && change.after?.default === 'drop')
      if (firstDrop < 0) return
      const there = allowlists(patch(kernel, changes.slice(0, firstDrop)))
      expect(allowlists(file).every((name) => there.includes(name))).toBe(true)
    }),
  )
})

test('slots are unique and in range, and every remaining name keeps its slot', () => {
  fc.assert(
    fc.property(wanted, wanted, (first, second) => {
      const before = plan(desired(first), facts(EMPTY_STATE), PROGRAM).slots
      const after = plan(desired(second), { ...facts(first), slots: before }, PROGRAM).slots
      for (const kind of ['interfaces', 'lists', 'services', 'backends', 'pools'] as const) {
        expect(new Set(after[kind].values()).size).toBe(after[kind].size)
        for (const [name, slot] of after[kind]) expect(before[kind].get(name) ?? slot).toBe(slot)
      }
    }),
  )
})
