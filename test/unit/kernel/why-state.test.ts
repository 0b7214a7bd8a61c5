// Verdicts by an exported state: each says what the export lacks, and nothing else.

import { expect, test } from 'vitest'
import { type Code, XdpError } from '../../../src/diagnostics.ts'
import { explainState } from '../../../src/kernel/report/why-state.ts'
import type { ExportedState } from '../../../src/model/exported.ts'
import type { Live } from '../../../src/model/live.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { TCP } from '../../../src/model/ports.ts'
import { renderWhy } from '../../../src/render/why.ts'
import { address, backend, EGRESS, service } from '../../support/services.ts'
import { ANY, desired, foreign, link, list, live, PROGRAM, rateLimit, scoped, state } from '../../support/states.ts'

const exported = (observed: Live): ExportedState => ({
  createdAt: '2026-11-29T18:00:00.000Z',
  host: { name: 'edge-1', bootId: 'x', netns: '4026531840', bpffs: '/sys/fs/bpf', instance: 'default' },
  build: { version: '0.1.0', abi: 2, digest: 'b'.repeat(32) },
  live: observed,
})

const BLOCKING = state({
  program: PROGRAM,
  policy: 'pass',
  interfaces: { eth0: ['native'] },
  lists: [list('blocklist', 'bad', scoped(ANY, '203.0.113.0/24'))],
})

const OURS = foreign({ id: 7, generation: 3 })
const running = (facts: Parameters<typeof live>[0] = {}): Live =>
  live({ state: BLOCKING, links: [link('eth0', { programs: [OURS] }), link('eth1')], generation: 3, ...facts })

const QUERY = { source: address('203.0.113.9'), protocol: TCP, interface: undefined }

const explained = (
  observed: Live,
  query: object = {},
  isKeyUnknown = false,
  file?: Parameters<typeof explainState>[1],
) =>
  explainState({ path: 'state.json', exported: exported(observed), isKeyUnknown }, file, {
    ...QUERY,
    ...query,
  } as never)

const unknownOf = (...args: Parameters<typeof explained>): string[] =>
  (explained(...args).offline?.unknown ?? []).map(({ what }) => what)

function codeOf(query: object): Code | undefined {
  try {
    explained(running(), query)
    return undefined
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return error.diagnostics[0]?.code
  }
}

const ALWAYS = ['since', 'bans', 'connections']

test('the verdict is that of the exported tables, and is not proven', () => {
  const { live: judged, desired: wanted, offline } = explained(running())
  expect(judged).toMatchObject({
    verdict: 'drop',
    list: 'bad',
    prefix: '203.0.113.0/24',
    proven: false,
    ban: undefined,
  })
  expect(wanted).toBeUndefined()
  expect(offline?.unknown.map(({ what }) => what)).toEqual(ALWAYS)
})

test('a state where nothing is applied lets every packet pass, in words', () => {
  const result = explained(live({ generation: 0 }))
  expect(result.live).toBeUndefined()
  expect(renderWhy(result, undefined, false)).toContain(
    'live: edge-1 had nothing in the kernel, so every packet passed.',
  )
})

test('only a state with rate limits or SYN protection lacks their counters', () => {
  const limited = { ...BLOCKING, rateLimits: new Map([['dns', rateLimit('dns')]]) }
  expect(unknownOf(running({ state: limited }))).toEqual([...ALWAYS, 'counters'])
  const guarded = { ...BLOCKING, policy: { ...DEFAULT_POLICY, syn_protection: 'auto 2000 443' } }
  expect(unknownOf(running({ state: guarded }))).toEqual([...ALWAYS, 'counters'])
})

const WEB = service('web', '192.0.2.10 80', {
  backends: [backend('10.0.0.11', { nextHop: EGRESS }), backend('10.0.0.12', { nextHop: EGRESS })],
})
const BALANCED = { ...BLOCKING, lists: new Map(), services: new Map([['web', WEB]]) }
const TO_VIP = { destination: WEB.vip, destinationPort: WEB.ports[0]?.first, sourcePort: 1024 }

test('a hash key that is only a fingerprint leaves the backend open, and the answer says so', () => {
  const known = explained(running({ state: BALANCED }), TO_VIP)
  expect(known.live).toMatchObject({ service: 'web', backend: expect.stringMatching(/^10\.0\.0\.1[12]/) })
  expect(known.offline?.unknown.map(({ what }) => what)).toEqual([...ALWAYS, 'health'])
  const hidden = { ...BALANCED, policy: { ...DEFAULT_POLICY, hash_key: '0a1b2c3d' } }
  const open = explained(running({ state: hidden }), TO_VIP, true)
  expect(open.live).toMatchObject({ service: 'web', backend: undefined })
  expect(open.offline?.unknown.map(({ what }) => what)).toEqual([...ALWAYS, 'health', 'hash-key'])
})

test('a backend that the host never asked for is reached by assumption, and is named', () => {
  const file = desired(state({ policy: 'pass', interfaces: { eth0: ['native'] }, services: [WEB] }))
  const { desired: wanted, offline } = explained(running(), TO_VIP, false, file)
  expect(wanted).toMatchObject({ service: 'web', backend: expect.any(String) })
  expect(offline?.unknown.find(({ what }) => what === 'next-hops')?.why).toContain('10.0.0.11')
})

test('an interface has a verdict only where our program ran, and by the policy that it ran', () => {
  expect(codeOf({ interface: 'eth7' })).toBe('E103')
  expect(codeOf({ interface: 'eth1' })).toBe('E114')
  expect(unknownOf(running(), { interface: 'eth0' })).toEqual(ALWAYS)
  const behind = running({ links: [link('eth0', { programs: [foreign({ generation: 2 })] })] })
  expect(unknownOf(behind, { interface: 'eth0' })).toEqual([...ALWAYS, 'program'])
})
