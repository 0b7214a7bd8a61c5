// Interfaces of scopes in a plan: when the tables must follow the slots of interfaces, and which packets prove them.

import { expect, test } from 'vitest'
import { buildProbes } from '../../../src/kernel/live/probe.ts'
import type { Live } from '../../../src/model/live.ts'
import { needsGeneration } from '../../../src/pipelines/target.ts'
import { plan } from '../../../src/plan/plan.ts'
import { ANY, desired, link, list, live, PROGRAM, scoped, state } from '../../support/states.ts'

const wanted = (...interfaces: string[]) =>
  state({
    policy: 'pass',
    interfaces: { eth0: ['generic'], eth1: ['generic'] },
    lists: [list('blocklist', 'blocklist', scoped({ ...ANY, interfaces }, '192.0.2.1'))],
  })

/** A plan that attaches eth1, which the host did not have before. */
function attaching(...interfaces: string[]) {
  const file = wanted(...interfaces)
  const { eth1: _, ...rest } = Object.fromEntries(file.interfaces)
  const now = { ...file, program: PROGRAM, interfaces: new Map(Object.entries(rest)) }
  const facts: Live = live({ state: now, links: [link('eth0'), link('eth1', { ifindex: 9 })] })
  return plan(desired(file, { eth1: { missing: 'skip' } }), facts, PROGRAM)
}

const roles = Array.from({ length: 64 }, () => ['balance', 'filter'] as const)

test('attaching an interface makes a generation only if scopes name it, or find another slot', () => {
  const made = attaching('eth1')
  expect(made.changes.map(({ key }) => key)).toEqual(['interface:eth1'])
  const slot = made.slots.interfaces.get('eth1') as number
  const needs = (...scoped: [string, number | undefined][]) =>
    needsGeneration(made, { roles, chains: new Map(), scopedInterfaces: new Map(scoped) })
  expect(needs()).toBe(false)
  expect(needs(['eth0', made.slots.interfaces.get('eth0')])).toBe(false)
  expect(needs(['eth1', undefined])).toBe(true)
  expect(needs(['eth1', slot])).toBe(false)
  expect(needs(['eth1', slot + 1])).toBe(true)
})

const SLOTS = new Map([
  ['eth0', 2],
  ['eth1', 5],
])

test('a scope with interfaces gets a packet on one of them, and on one that it does not name', () => {
  const links = new Map([link('eth0'), link('eth1', { ifindex: 9 })].map((one) => [one.name, one]))
  const arrivals = (...interfaces: string[]) =>
    buildProbes(wanted(...interfaces), links, SLOTS)
      .filter(({ on }) => on !== undefined)
      .map(({ on, arrival, verdict }) => [on, arrival.slot, verdict])
  expect(arrivals('eth1')).toEqual([
    ['eth1', 5, 'drop'],
    ['eth0', 2, 'pass'],
  ])
  expect(arrivals('eth0', 'eth1')).toEqual([['eth0', 2, 'drop']])
  expect(arrivals('eth7')).toEqual([['eth0', 2, 'pass']])
})
