// The file of an exported state: a plan against what was read from it is the plan against the live state.

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Code, XdpError } from '../../../src/diagnostics.ts'
import type { ExportedState } from '../../../src/model/exported.ts'
import type { Live } from '../../../src/model/live.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { EMPTY_STATE } from '../../../src/model/state.ts'
import { plan } from '../../../src/plan/plan.ts'
import { openState, sealState } from '../../../src/saved/state.ts'
import { usually } from '../../support/depth.ts'
import { randomAnomalies, randomFrom, randomLimits, randomState } from '../../support/random.ts'
import { check } from '../../support/schemas.ts'
import { address, arbitraryServices, EGRESS } from '../../support/services.ts'
import { desired, foreign, link, live, PROGRAM } from '../../support/states.ts'
import { arbitraryState } from '../../support/tables.ts'

const exported = (observed: Live): ExportedState => ({
  createdAt: '2026-11-29T18:00:00.000Z',
  host: { name: 'edge-1', bootId: 'x', netns: '4026531840', bpffs: '/sys/fs/bpf', instance: 'default' },
  build: { version: '0.1.0', abi: 2, digest: 'b'.repeat(32) },
  live: observed,
})

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const reopened = (observed: Live): Live =>
  (openState('state.json', bytesOf(sealState(exported(observed)))) as ExportedState).live

function codeOf(text: string): Code | undefined {
  try {
    openState('state.json', bytesOf(text))
    return undefined
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return error.diagnostics[0]?.code
  }
}

/** Everything that a live state may have. */
const FULL = live({
  state: {
    ...EMPTY_STATE,
    program: PROGRAM,
    policy: { ...DEFAULT_POLICY, protect: ['192.0.2.9 tcp 22'], hash_key: '0a1b2c3d' },
    interfaces: new Map([
      [
        'eth0',
        { interface: 'eth0', modes: ['native'], roles: ['filter'], chain: { id: 4, name: 'x', tag: 'ab', pin: '/p' } },
      ],
    ]),
    localPorts: { first: 32_768, last: 60_999 },
    receiveMax: 212_992,
  },
  links: [
    link('eth0', {
      vlan: { parent: 'eth1', tag: 7 },
      below: 'p',
      master: 'br0',
      bond: { mode: '802.3ad', policy: '' },
      programs: [foreign({ pin: '/x' })],
    }),
  ],
  drift: new Map([['policy', 'changed in the kernel since the last apply']]),
  applied: {
    interfaces: new Map([['eth0', { interface: 'eth0', modes: ['generic'], roles: ['filter'] }]]),
    edited: new Map(),
  },
  owners: new Map([[42, { uid: 0, holders: [{ pid: 7, command: 'xdp-loader' }] }]]),
  chains: new Map([
    [
      'eth0',
      {
        program: { id: 4, name: 'x', tag: 'ab', pin: '/p' },
        held: 4,
        next: { id: 4, name: 'x', tag: 'ab', pin: undefined },
        words: ['pinned', '/p'],
      },
    ],
  ]),
  pending: { id: '4f1c09aa', generation: 1, previous: 0 },
  leftovers: ['/sys/fs/bpf/xdp-as-code/default/gen-3'],
  nextHops: new Map([
    ['10.0.0.11', EGRESS],
    ['10.0.0.12', undefined],
  ]),
  unresolved: new Map([['10.0.0.12', 'no route leads to it']]),
  gateways: new Map([['10.0.0.11', '192.0.2.254']]),
  unanswered: new Map([['192.0.2.10', 'eth0']]),
  stripping: new Map([['eth0', ['eth1']]]),
  reservedPorts: [{ first: 40_000, last: 40_010 }],
  tcp: { cookies: 1, timestamps: 1, receiveMax: 212_992, loose: 1 },
  acceptsLocal: new Set(['eth0']),
  sshEnds: [{ address: address('192.0.2.1'), port: 22 }],
  ownAddresses: [address('192.0.2.1'), address('2001:db8::1')],
  deadlines: new Map([['web/10.0.0.11:80', 100]]),
  bootSeconds: 12,
})

test('a state has every fact of observation, described by its schema', () => {
  const text = sealState(exported(FULL))
  check('state', text)
  expect(openState('state.json', bytesOf(text))).toEqual(exported(FULL))
})

test('any policy is read as it was exported, and has the same plan', () => {
  fc.assert(
    fc.property(arbitraryState, arbitraryServices, fc.nat(), (lists, { services }, seed) => {
      const random = randomFrom(seed)
      const policy = { ...(lists.policy ?? DEFAULT_POLICY), anomalies: randomAnomalies(random) }
      const observed = live({
        state: {
          ...lists,
          program: PROGRAM,
          policy,
          services: new Map(services.map((one) => [one.name, one])),
          rateLimits: randomLimits(random),
        },
        links: [link('eth0'), link('eth1', { ifindex: 3 })],
      })
      const again = reopened(observed)
      expect(again.state).toEqual(observed.state)
      const wanted = desired(randomState(randomFrom(seed + 1)))
      expect(plan(wanted, again, PROGRAM)).toEqual(plan(wanted, observed, PROGRAM))
      check('state', sealState(exported(observed)))
    }),
    { numRuns: usually(25, { thoroughly: 200 }) },
  )
})

test('another file is no state, and a damaged or edited state is refused', () => {
  const text = sealState(exported(FULL))
  expect(openState('xdp.yaml', bytesOf('version: 1\ninterfaces: { eth0: {} }\n'))).toBeUndefined()
  expect(openState('xdp.json', bytesOf('{"version": 1, "interfaces": {"eth0": {}}}'))).toBeUndefined()
  expect(codeOf('{"format_version": "1.0", "config": null, "changes": []}')).toBe('E280')
  expect(codeOf(text.slice(0, -100))).toBe('E280')
  expect(codeOf(text.replace('192.0.2.254', '192.0.2.253'))).toBe('E280')
  expect(codeOf(text.replace('"format_version": "1.0"', '"format_version": "2.0"'))).toBe('E281')
})

/** A state with an edit whose digest is right. */
function resealed(
  edit: (live: Record<string, unknown>) => void,
  more: Readonly<Record<string, unknown>> = {},
  fields: Readonly<Record<string, unknown>> = {},
): string {
  const { format_version, kind, sha256: _, ...sealed } = JSON.parse(sealState(exported(FULL)))
  const content = { ...sealed, ...fields }
  edit(content.live)
  const sha256 = createHash('sha256').update(JSON.stringify(content)).digest('hex')
  return JSON.stringify({ format_version, kind, sha256, ...content, ...more })
}

test.each([
  ['default', 'reject'],
  ['essential', ['nat']],
  ['anomalies', ['smurf']],
  ['hash_key', '2001:db8::/64'],
  ['protect', ['192.0.2.9 tcp tcp']],
  ['syn_protection', 'auto 2000 443,'],
  ['flows', -1],
])('a state whose %s is %j is refused', (name, value) => {
  const edit = ({ state }: Record<string, unknown>) =>
    Object.assign((state as { policy: object }).policy, { [name]: value })
  expect(codeOf(resealed(() => undefined))).toBeUndefined()
  expect(codeOf(resealed(edit))).toBe('E280')
})

test('no text of a state has a line break, and its time is one', () => {
  const names = ['v\nNo changes.', 'v\r', 'v\u2028x']
  for (const name of names) {
    const named = (key: string) => codeOf(resealed((own) => Object.assign(own, { unresolved: { [key]: 'no route' } })))
    expect([named(name), named('10.0.0.9')]).toEqual(['E280', undefined])
    const { host } = exported(FULL)
    expect(codeOf(resealed(() => undefined, {}, { host: { ...host, boot_id: 'x', name } }))).toBe('E280')
  }
  const timed = (created_at: string) => codeOf(resealed(() => undefined, {}, { created_at }))
  expect(timed('2026-11-29T18:00:00.000Z')).toBeUndefined()
  expect(['', '9999-99-99', '2026-13-29T18:00:00.000Z', '2026'].map(timed)).toEqual(Array(4).fill('E280'))
})

test('a match of an ICMP type without a number is refused', () => {
  const scope = { protocol: 'icmp', source_ports: [], destination_ports: [], match: { icmp: [{}] } }
  const sets = [{ scope, addresses: { v4: [], v6: [] } }]
  const edit = ({ state }: Record<string, unknown>) =>
    Object.assign(state as object, { lists: { x: { kind: 'blocklist', name: 'x', sets } } })
  expect(codeOf(resealed(edit))).toBe('E280')
})

test('a document of any depth, or without a version, is refused', () => {
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
  expect(codeOf(`{"format_version": "1.0", "kind": "xdp-state", "live": ${deep}}`)).toBe('E280')
  const version = (value: unknown) => codeOf(resealed(() => undefined, { format_version: value }))
  expect(['1.7', '2.0', { a: 1 }, '1.\u001b[31m', '1'].map(version)).toEqual([
    undefined,
    'E281',
    'E280',
    'E280',
    'E280',
  ])
})
