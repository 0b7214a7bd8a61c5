import { expect, test } from 'vitest'
import * as abi from '../../../src/abi/generated.ts'
import {
  BACKEND_SLOTS,
  BACKUPS_A_SERVICE,
  CHECK_PORTS,
  INTERFACE_SETS,
  INTERFACE_SLOTS,
  LIST_SLOTS,
  POOL_SLOTS,
  PORT_RANGES,
  SERVICE_SLOTS,
} from '../../../src/model/limits.ts'
import { assignSlots } from '../../../src/plan/slots.ts'
import { ringSize } from '../../../src/semantics/maglev.ts'
import { list, live, state } from '../../support/states.ts'

const named = (...names: readonly string[]) => state({ lists: names.map((name) => list('blocklist', name)) })
const taken = (lists: Readonly<Record<string, number>>, interfaces: Readonly<Record<string, number>> = {}) =>
  live({
    slots: {
      lists: new Map(Object.entries(lists)),
      interfaces: new Map(Object.entries(interfaces)),
      services: new Map(),
      backends: new Map(),
      pools: new Map(),
    },
  })

test('the limits are those of the data plane', () => {
  expect([INTERFACE_SLOTS, INTERFACE_SETS, LIST_SLOTS, SERVICE_SLOTS, POOL_SLOTS]).toEqual([
    abi.INTERFACE_SLOTS,
    abi.INTERFACE_SETS,
    abi.LIST_SLOTS,
    abi.SERVICE_SLOTS,
    abi.POOL_SLOTS,
  ])
  expect(BACKEND_SLOTS).toBe(Math.min(abi.BACKEND_SLOTS, abi.NO_SLOT))
  expect([PORT_RANGES, BACKUPS_A_SERVICE]).toEqual([abi.PORT_RANGES, abi.BACKUPS_A_SERVICE])
  const checks = abi.CHECK_WAYS * abi.CHECK_PORTS_A_WAY
  expect(CHECK_PORTS).toEqual({ first: abi.CHECK_FIRST_PORT, last: abi.CHECK_FIRST_PORT + checks - 1 })
  expect(ringSize(BACKUPS_A_SERVICE)).toBe(abi.BACKUP_RING_SIZE)
})

test('names keep their slots; new names, sorted, get the lowest free ones', () => {
  const { lists } = assignSlots(named('d', 'b', 'c', 'a'), taken({ c: 0, b: 2 }))
  expect(Object.fromEntries(lists)).toEqual({ a: 1, b: 2, c: 0, d: 3 })
})

test('a slot that this plan frees is not reused while another is free', () => {
  const { lists } = assignSlots(named('new'), taken({ old: 0 }))
  expect(Object.fromEntries(lists)).toEqual({ new: 1 })
})

test('a slot that this plan frees is reused if no other is left', () => {
  const names = Array.from({ length: LIST_SLOTS }, (_, index) => `list-${index}`)
  const full = Object.fromEntries(names.map((name, index) => [name, index]))
  const { lists } = assignSlots(named(...names.slice(1), 'new'), taken(full))
  expect(lists.get('new')).toBe(0)
})

test('interfaces start at slot 1, because slot 0 counts packets of no known interface', () => {
  const { interfaces } = assignSlots(state({ interfaces: { eth1: ['native'], eth0: ['native'] } }), taken({}))
  expect(Object.fromEntries(interfaces)).toEqual({ eth0: 1, eth1: 2 })
})

test('more names than slots are refused', () => {
  const interfaces = Object.fromEntries(Array.from({ length: INTERFACE_SLOTS }, (_, at) => [`eth${at}`, ['native']]))
  expect(() => assignSlots(state({ interfaces: interfaces as Record<string, ['native']> }), live())).toThrow('E205')
  const lists = Array.from({ length: LIST_SLOTS + 1 }, (_, at) => `list-${at}`)
  expect(() => assignSlots(named(...lists), live())).toThrow('E203')
})
