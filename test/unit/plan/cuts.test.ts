// Cuts: what is refused, what allows it, and the labels of the changes that they come from.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type AllowedCuts,
  type Answer,
  type Connection,
  type Contact,
  type Cut,
  type Guarded,
  NO_ALLOWED_CUTS,
} from '../../../src/model/contact.ts'
import type { State } from '../../../src/model/state.ts'
import { formatAddress, parseAddress, parsePrefix } from '../../../src/model/text.ts'
import type { Change, Plan } from '../../../src/plan/change.ts'
import { cutsTitle, guardCuts, withCuts } from '../../../src/plan/cuts.ts'
import { plan } from '../../../src/plan/plan.ts'
import { witnessesOf } from '../../../src/plan/witnesses.ts'
import { ANY, desired, link, list, live, PROGRAM, scoped, state } from '../../support/states.ts'

const address = (text: string) => parseAddress(text) as NonNullable<ReturnType<typeof parseAddress>>
const prefix = (text: string) => parsePrefix(text) as NonNullable<ReturnType<typeof parsePrefix>>

const PASSES: Answer = { passes: true, reason: 'default-pass', list: undefined, service: undefined }
const DROPPED: Answer = { passes: false, reason: 'blocklist', list: 'blocklist', service: undefined }

const connection = (peer: string, isInbound = true): Connection => ({
  kind: 'connection',
  protocol: 'tcp',
  peer: address(peer),
  peerPort: 41_184,
  local: undefined,
  localPort: 22,
  isInbound,
  inode: 1,
  isSession: false,
})

const CONTACTS: Readonly<Record<Guarded, Contact>> = {
  ssh: connection('10.99.0.2'),
  gateway: { kind: 'gateway', peer: address('10.99.0.1'), local: undefined },
  dns: { kind: 'resolver', peer: address('10.99.0.53'), local: undefined, localPort: 40_000 },
  protected: {
    kind: 'protected',
    peer: address('10.99.0.9'),
    local: undefined,
    protocol: 6,
    port: 22,
    by: { prefix: prefix('10.99.0.8/29'), protocol: 6, port: 22, at: 'xdp.yaml:7' },
  },
}

const cutOf = (contact: Contact, guarded?: Guarded, after = DROPPED): Cut => ({
  contact,
  interface: 'eth0',
  owner: contact.kind === 'connection' ? 'sshd' : undefined,
  guarded,
  before: PASSES,
  after,
})

const KINDS = Object.keys(CONTACTS) as Guarded[]
const CUTS = {
  connections: 212,
  omitted: 0,
  cut: [...KINDS.map((kind) => cutOf(CONTACTS[kind], kind)), cutOf(connection('10.99.0.3', false))],
}

const codes = (allowed: Partial<AllowedCuts>): string[] =>
  guardCuts(CUTS, { ...NO_ALLOWED_CUTS, ...allowed }, undefined).map(({ code }) => code)

describe('guarded contacts', () => {
  test('are refused one kind at a time', () => {
    expect(codes({})).toEqual(['E226', 'E227', 'E228', 'E229'])
    expect(codes({ kinds: ['ssh'] })).toEqual(['E227', 'E228', 'E229'])
    expect(codes({ kinds: ['gateway', 'dns'] })).toEqual(['E226', 'E229'])
    expect(codes({ prefixes: [prefix('10.99.0.8/29')] })).toEqual(['E226', 'E227', 'E228'])
    expect(codes({ prefixes: [prefix('10.99.0.2')] })).toEqual(['E227', 'E228', 'E229'])
    expect(codes({ prefixes: [prefix('2001:db8::/32')] })).toEqual(['E226', 'E227', 'E228', 'E229'])
    expect(codes({ all: true })).toEqual([])
  })

  test('are named with the flag that allows to cut them', () => {
    const [ssh, , , guarded] = guardCuts(CUTS, NO_ALLOWED_CUTS, undefined)
    expect(ssh?.message).toBe('this would cut an SSH session: 10.99.0.2:41184 → :22 sshd by list blocklist')
    expect(ssh?.hint).toContain('`--allow-cut ssh`')
    expect(guarded?.message).toContain('tcp from 10.99.0.9 to port 22, protected by 10.99.0.8/29 at xdp.yaml:7')
    expect(guarded?.hint).toContain('`--allow-cut 10.99.0.8/29`')
  })

  test('are counted apart from connections', () => {
    expect(cutsTitle(CUTS)).toBe('would cut 2 of 212 live connections and 3 other peers')
    expect(cutsTitle({ ...CUTS, cut: CUTS.cut.slice(1, 2) })).toBe('would cut 1 peer')
    expect(cutsTitle({ ...CUTS, cut: [] })).toBeUndefined()
  })
})

describe('witnesses of a protected prefix', () => {
  const lists = (kind: 'allowlist' | 'blocklist', ...texts: readonly string[]) =>
    state({ lists: [list(kind, kind, scoped(ANY, ...texts))] })
  const protect = [{ prefix: prefix('192.0.2.0/24'), protocol: 'icmp', port: undefined, at: 'xdp.yaml:5' }] as const
  const addressesOf = (before: State, after: State): string[] =>
    witnessesOf(protect, { before, after })
      .map(({ peer: { family, words } }) => formatAddress(family, words))
      .sort()

  test('are where packets begin to be dropped afterwards', () => {
    const none = state({})
    expect(addressesOf(none, lists('blocklist', '192.0.2.64/26'))).toEqual(['192.0.2.0', '192.0.2.64'])
    expect(addressesOf(none, lists('allowlist', '192.0.2.64/26'))).toEqual(['192.0.2.0', '192.0.2.128'])
    expect(addressesOf(none, lists('blocklist', '192.0.0.0/16', '198.51.100.1'))).toEqual(['192.0.2.0'])
  })

  test('are where packets begin to pass before: those dropped already are not cut', () => {
    const none = state({})
    expect(addressesOf(lists('blocklist', '192.0.2.0/25'), none)).toEqual(['192.0.2.0', '192.0.2.128'])
    expect(addressesOf(lists('allowlist', '192.0.2.200'), none)).toEqual(['192.0.2.0', '192.0.2.200'])
  })
})

const WANTED = state({
  policy: 'pass',
  interfaces: { eth0: ['native'] },
  lists: [list('blocklist', 'blocklist', scoped(ANY, '10.99.0.0/24'))],
})
const made = (): Plan => plan(desired(WANTED), live({ links: [link('eth0')] }), PROGRAM)

const impacts = ({ changes }: Plan): Record<string, Change['impact']> =>
  Object.fromEntries(changes.map(({ key, impact }) => [key, impact]))

describe('labels', () => {
  test('name the list that cuts', () => {
    const { changes } = withCuts(made(), CUTS)
    expect(changes.find(({ key }) => key === 'list:blocklist')).toMatchObject({ impact: 'cuts', cuts: 2 })
  })

  test('are as before if nothing is cut', () => {
    expect(impacts(withCuts(made(), { ...CUTS, cut: [] }))).toEqual(impacts(made()))
  })

  test('say hitless of every change only if no connection is cut, and count each once', () => {
    const answer = fc.record({
      passes: fc.constant(false),
      reason: fc.constantFrom('blocklist', 'default-drop', 'ban'),
      list: fc.constantFrom('blocklist', 'gone', undefined),
      service: fc.constantFrom('web', undefined),
    })
    const cuts = fc.array(
      fc.tuple(fc.constantFrom(...Object.values(CONTACTS)), answer, fc.constantFrom('eth0', 'eth9')),
      { maxLength: 5 },
    )
    fc.assert(
      fc.property(cuts, (some) => {
        const cut = some.map(([contact, after, name]) => ({ ...cutOf(contact, undefined, after), interface: name }))
        const { changes } = withCuts(made(), { connections: 5, omitted: 0, cut })
        const counted = changes.reduce((sum, { cuts: count = 0 }) => sum + count, 0)
        expect(counted).toBe(cut.filter(({ contact }) => contact.kind === 'connection').length)
        expect(changes.some(({ impact }) => impact === 'cuts')).toBe(cut.length > 0)
      }),
    )
  })
})
