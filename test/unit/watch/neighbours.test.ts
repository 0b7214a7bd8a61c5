// Questions to next hops: which backends, when, and the lines that ip gets.

import { afterEach, expect, test } from 'vitest'
import { verifyNeighbours } from '../../../src/kernel/host/next-hops.ts'
import { useRunner } from '../../../src/kernel/tools/spawn.ts'
import type { Served } from '../../../src/model/live.ts'
import { askNeighbours } from '../../../src/watch/neighbours.ts'
import { createClock, settle } from '../../support/clock.ts'
import { backend, balancing, service } from '../../support/services.ts'
import { slotsFor } from '../../support/slots.ts'

const WEB = service('web', '192.0.2.10 80', {
  backends: ['10.0.0.11', '10.0.0.12', backend('10.0.0.13', { nextHop: undefined })],
})
const STATE = balancing([WEB])
const SERVED: Served = { generation: 4, slots: slotsFor(STATE), leaving: [], services: STATE.services }
const slotOf = (text: string): number => SERVED.slots.backends.get(`web/${text}`) as number

function world() {
  const clock = createClock()
  const sent = new Map<number, number>()
  const failing = new Set<string>()
  const asked: (readonly string[])[] = []
  const read: (readonly [number, number])[] = []
  const asking = askNeighbours({
    scheduler: clock,
    async packets(generation, slots) {
      read.push([generation, slots.length])
      return new Map(slots.map((slot) => [slot, sent.get(slot) ?? 0]))
    },
    failing: () => failing,
    ask: async (addresses) => void asked.push(addresses),
  })
  return { clock, sent, failing, asked, read, asking }
}

test('backends that get packets are asked, and those whose check fails', async () => {
  const { clock, sent, failing, asked, read, asking } = world()
  asking.follow(SERVED)
  await clock.pass(1200)
  expect([asked, read]).toEqual([[], [[4, 2]]])
  sent.set(slotOf('10.0.0.12'), 3)
  await clock.pass(1200)
  expect(asked).toEqual([['10.0.0.12']])
  await clock.pass(1200)
  expect(asked).toHaveLength(1)
  failing.add('web/10.0.0.11')
  await clock.pass(1200)
  expect(asked.at(-1)).toEqual(['10.0.0.11'])
  asking.stop()
  await clock.pass(5000)
  expect(asked).toHaveLength(2)
})

test('nothing is read without services, and a failed reading ends only its round', async () => {
  const clock = createClock()
  let reads = 0
  const asking = askNeighbours({
    scheduler: clock,
    async packets() {
      reads++
      throw new Error('replaced')
    },
    failing: () => new Set(),
    ask: async () => undefined,
  })
  asking.follow({ ...SERVED, services: new Map() })
  await clock.pass(5000)
  expect(reads).toBe(0)
  asking.follow(SERVED)
  await clock.pass(3600)
  expect(reads).toBe(3)
  asking.follow({ ...SERVED, services: new Map() })
  await clock.pass(5000)
  expect(reads).toBe(3)
  asking.follow(SERVED)
  await clock.pass(1200)
  expect(reads).toBe(4)
  await settle()
  asking.stop()
})

let restore = (): void => undefined
afterEach(() => restore())

test('an entry is probed at its address first, then requested from all; those of an administrator are left alone', async () => {
  const entry = (dst: string, state: string, more: object = {}) => ({
    dst,
    dev: 'eth1',
    ...(state === 'FAILED' ? {} : { lladdr: '02:00:5e:10:00:01' }),
    state: [state],
    ...more,
  })
  const addresses = Array.from({ length: 9 }, (_, i) => `10.0.0.${i + 1}`)
  const [reachable = '', stale = '', permanent = '', managed = '', learnt = '', probed = '', failed = '', silent = ''] =
    addresses
  const unknown = addresses[8]
  const table = (isLater: boolean) => [
    entry(reachable, 'REACHABLE'),
    entry(stale, 'STALE', { router: null }),
    entry(permanent, 'PERMANENT'),
    entry(managed, 'REACHABLE', { managed: null }),
    entry(learnt, 'REACHABLE', { extern_learn: null }),
    entry(probed, 'PROBE'),
    entry(failed, 'FAILED'),
    entry(silent, isLater ? 'PROBE' : 'REACHABLE', { router: null }),
  ]
  const batches: string[] = []
  restore = useRunner(async (_, argv, input) => {
    const lines = String(input ?? '').trim()
    if (!argv.includes('-batch')) {
      return { stdout: JSON.stringify(table(batches.length > 0)), stderr: '', exitCode: 0 }
    }
    if (!lines.startsWith('route')) batches.push(lines)
    const count = lines.split('\n').length
    return { stdout: lines.startsWith('route') ? '[{"dev":"eth1"}]\n'.repeat(count) : '', stderr: '', exitCode: 0 }
  })
  await verifyNeighbours(addresses, 100)
  expect(batches.map((lines) => lines.split('\n'))).toEqual([
    [
      `neigh change ${reachable} dev eth1 nud probe`,
      `neigh change ${stale} dev eth1 router nud probe`,
      `neigh replace ${failed} dev eth1 use`,
      `neigh change ${silent} dev eth1 router nud probe`,
      `neigh replace ${unknown} dev eth1 use`,
    ],
    [`neigh change ${silent} dev eth1 router nud none`, `neigh replace ${silent} dev eth1 use`],
  ])
})
