// `xdp list`: the text that it makes of a live policy is a config of that policy.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { FORWARDING_MODES } from '../../src/features/forwarding/forwarding.ts'
import { listLive } from '../../src/import/live.ts'
import { addressTexts, scopeFields } from '../../src/import/written-scope.ts'
import type { PacketMatch } from '../../src/model/packet-match.ts'
import { DEFAULT_POLICY, ESSENTIAL_GROUPS } from '../../src/model/policy.ts'
import { limitOfSources, type RateLimit, rateLimitKey, sourcesList } from '../../src/model/rate-limit.ts'
import { sourcesOf } from '../../src/model/rate-sources.ts'
import { backendKey, DEFAULT_OUTER_SOURCE, GUE_PORT, type Service, UDP_TIMEOUT } from '../../src/model/service.ts'
import { type List, type ListKind, type Scope, type State, scopeKey } from '../../src/model/state.ts'
import { formatAddress } from '../../src/model/text.ts'
import { changesBetween } from '../../src/plan/between.ts'
import { compileImage, decodeImage } from '../../src/tables/image/image.ts'
import { usually } from '../support/depth.ts'
import { randomAnomalies, randomFrom, randomLimits, randomState } from '../support/random.ts'
import { withSourceLists } from '../support/rate-sources.ts'
import { arbitraryServices } from '../support/services.ts'
import { arbitraryState, slotsOf } from '../support/tables.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-list-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const OPTIONS = { about: ['test'], schema: undefined, files: true, secrets: true, leaving: 0, bans: 0 }

/** The state of the config that stands for a live state. */
async function reloaded(state: State): Promise<State> {
  const { config, files, leftOut } = listLive(state, OPTIONS)
  expect(leftOut.filter(({ what }) => what === 'scope')).toEqual([])
  // A config refuses IPv4 addresses in IPv6 form, which no packet has.
  fc.pre(
    ![config, ...files.map(({ content }) => Buffer.from(content).toString())].some((one) => one.includes('::ffff:')),
  )
  const path = join(directory, 'xdp.yaml')
  writeFileSync(path, config)
  for (const file of files) {
    mkdirSync(dirname(join(directory, file.path)), { recursive: true })
    writeFileSync(join(directory, file.path), file.content)
  }
  return (await loadConfig(path)).desired.state
}

/** A service as a config can ask for it. */
function writable(service: Service): Service {
  const { keys } = FORWARDING_MODES[service.forwarding]
  const { sorry, protocols, drainTimeout, udpTimeout, snatPool } = service
  const isBackend = sorry && service.backends.some((one) => backendKey(one) === backendKey(sorry))
  return {
    ...service,
    drainTimeout: drainTimeout === 0 ? 1 : drainTimeout,
    udpTimeout: protocols.includes('udp') ? Math.min(udpTimeout, 14_400) : UDP_TIMEOUT,
    guePort: keys.includes('gue_port') ? service.guePort : GUE_PORT,
    repliesFrom: keys.includes('replies_from') ? service.repliesFrom : 'route',
    outerSource: keys.includes('outer_source') ? service.outerSource : DEFAULT_OUTER_SOURCE,
    snatPool: keys.includes('snat') ? snatPool : [],
    sorry: sorry && !isBackend ? { ...sorry, weight: 1, state: 'active', backup: false, mtu: undefined } : undefined,
  }
}

/** Whether a config can ask for the scope: of random header fields, it cannot for some types of ICMP with several codes. */
const isWritable = (scope: Scope): boolean => {
  const { match } = scope
  const fields = scopeFields(scope)
  if (!match?.icmp && !match?.destinations) expect(fields).toBeDefined()
  return fields !== undefined && loads(match)
}

/** Bounds and combinations of header fields that reading a config refuses. */
const loads = ({ length, vlan, fragments }: PacketMatch = {}): boolean =>
  (length?.first ?? 20) >= 20 && (vlan?.first ?? 1) >= 1 && fragments !== 'later'

/** The sources of a limit; undefined: every one, as a config writes it. */
const someOf = (sources: RateLimit['sources']): RateLimit['sources'] =>
  typeof sources === 'object' && addressTexts(sources).join() === '0.0.0.0/0,::/0' ? undefined : sources

/** Keys that only entries of a blocklist have. */
const fitsKind = (kind: ListKind, { established, socket, action }: Scope): boolean =>
  kind === 'blocklist' ? !(socket && established) : !established && !socket && !action

/** No config names a limit that counts no source. */
const hasSources = (limit: RateLimit, { lists }: State): boolean =>
  limit.sources !== 'list' || (lists.get(sourcesList(limit.name))?.sets.length ?? 0) > 0

const isKept = ({ rateLimits }: State, { name }: List): boolean => {
  const limit = rateLimits?.get(limitOfSources(name))
  return limit !== undefined && isWritable(limit.scope)
}

/** A state without the scopes that no config has. A list with a name has one of them. */
const writableState = (state: State): State => ({
  ...state,
  lists: new Map(
    [...state.lists].flatMap(([name, list]) => {
      if (list.kind === 'sources' && !isKept(state, list)) return []
      const sets = list.sets
        .filter(({ scope }) => isWritable(scope) && fitsKind(list.kind, scope))
        .slice(0, name === list.kind ? undefined : 1)
      return sets.length > 0 ? [[name, { ...list, sets }] as const] : []
    }),
  ),
  rateLimits: new Map(
    [...(state.rateLimits?.values() ?? [])]
      .filter((limit) => isWritable(limit.scope) && hasSources(limit, state))
      .map((limit, position) => [limit.name, { ...limit, position, sources: someOf(limit.sources) }]),
  ),
})

/** The state with a list of each kind under the name of its kind. */
function withUnnamed(state: State): State {
  const all = [...state.lists.values()]
  const first = new Map(all.toReversed().map((list) => [list.kind, list.name]))
  const renamed = all.map((list) => (first.get(list.kind) === list.name ? { ...list, name: list.kind } : list))
  return { ...state, lists: new Map(renamed.map((list) => [list.name, list])) }
}

/** A text for everything that a limit is. */
const keysOf = ({ rateLimits, lists }: State): string[] =>
  [...(rateLimits?.values() ?? [])]
    .map((limit) => ({ ...limit, sources: sourcesOf(limit, lists) }))
    .map((limit) => `${limit.name} ${rateLimitKey(limit, scopeKey(limit.scope))}`)
    .sort()

test('a random policy is read back from its tables as a config without a change', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryState, fc.nat(), async (lists, seed) => {
      const random = randomFrom(seed)
      const drawn = withUnnamed(random.chance(0.5) ? lists : randomState(random))
      const policy = {
        ...(drawn.policy ?? DEFAULT_POLICY),
        essential: ESSENTIAL_GROUPS.filter(() => random.chance(0.7)),
        anomalies: randomAnomalies(random),
        protect: ['192.0.2.9 tcp 22', '2001:db8::/32', '198.51.100.0-198.51.100.9 icmp'],
        syn_protection: random.pick(['', 'auto 2000 443,8000-8099', 'always 10 22']),
        bans: random.pick([DEFAULT_POLICY.bans, 1024]),
      }
      const limits = random.chance(0.7) && { rateLimits: randomLimits(random) }
      const state = withSourceLists(random, { ...drawn, policy, ...limits })
      const image = compileImage({
        state,
        slots: {
          ...slotsOf(state),
          rates: new Map([...(state.rateLimits?.keys() ?? [])].map((name, slot) => [name, slot])),
        },
        meta: { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) },
      })
      const decoded = decodeImage(image)
      const live = writableState({
        ...state,
        lists: decoded.lists,
        policy: decoded.policy,
        rateLimits: decoded.rateLimits,
      })
      const again = await reloaded(live)
      // Interfaces that only scopes name are in the config, and nowhere else.
      const there = {
        ...again,
        interfaces: new Map([...again.interfaces].filter(([name]) => live.interfaces.has(name))),
      }
      expect(keysOf(again)).toEqual(keysOf(live))
      expect(changesBetween(live, there)).toEqual([])
    }),
    { numRuns: usually(15, { thoroughly: 400 }) },
  )
})

test('random services are written as a config that has them', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryServices, async ({ services }) => {
      // Two of them may have one VIP and port, which a config refuses.
      const own = new Map(services.slice(0, 1).map((one) => [one.name, writable(one)]))
      const state: State = {
        program: undefined,
        policy: { ...DEFAULT_POLICY, flows: 4096, hash_key: '00112233445566778899aabbccddeeff' },
        interfaces: new Map([['eth0', { interface: 'eth0', modes: ['native'], roles: ['balance', 'filter'] }]]),
        lists: new Map(),
        services: own,
      }
      const again = await reloaded(state)
      const sorted = ({ snatPool, ...rest }: Service) => ({
        ...rest,
        snatPool: snatPool.map(({ family, words }) => formatAddress(family, words)).sort(),
        backends: rest.backends.map((one) => ({ ...one, nextHop: undefined })),
        sorry: rest.sorry && { ...rest.sorry, nextHop: undefined },
      })
      const all = (some: State['services']) => [...some.values()].map(sorted)
      expect(all(again.services)).toEqual(all(own))
    }),
    { numRuns: usually(15, { thoroughly: 400 }) },
  )
})
