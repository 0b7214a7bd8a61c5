// Maps of the balancer that a new generation takes over, and content that it copies into new maps.

import { describe, expect, test } from 'vitest'
import { CARRY_SLOTS, carryHeaderCodec, SNAT_PORTS } from '../../../src/abi/generated.ts'
import { BALANCER, BALANCER_MAPS, carryingOf } from '../../../src/features/balancer.ts'
import { HEALTH } from '../../../src/features/health.ts'
import { carryData } from '../../../src/kernel/execute/carry.ts'
import { printSteps } from '../../../src/kernel/execute/execute.ts'
import { lower } from '../../../src/kernel/execute/lower.ts'
import { parseCpus } from '../../../src/kernel/tools/cpus.ts'
import type { Slots } from '../../../src/model/live.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import type { State } from '../../../src/model/state.ts'
import { loweringBetween, PATHS } from '../../support/lowering.ts'
import { backend, balancing, service } from '../../support/services.ts'
import { slotsFor } from '../../support/slots.ts'

/** Lines by which a new generation gets its maps, the content that is carried, and the counters that are zeroed. */
function steps(before: State, after: State, slots?: Slots) {
  const lowering = loweringBetween(before, after, slots)
  const lines = printSteps(lower(lowering)).map((line) => line.replaceAll(`${PATHS.instance}/`, ''))
  const made = lines.filter((line) => /^bpftool map (?:pin|create) .*(?:flows|_stats|snat_ports)/.test(line))
  const zeroed = BALANCER.prepare(lowering).flatMap((step) =>
    step.kind === 'zero-counter' ? [[step.map, step.slot]] : [],
  )
  return { made: made.filter((line) => line.includes('gen-2')), carrying: carryingOf(lowering), zeroed }
}

const many = (count: number, snatPool: readonly string[] = []): State =>
  balancing([
    service('web', '192.0.2.10 80', {
      snatPool,
      backends: Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}`),
    }),
  ])

describe('a map', () => {
  test('is handed on if it fits', () => {
    const { made, carrying } = steps(many(2), many(3))
    expect(made).toEqual(
      ['flows', 'service_stats', 'backend_stats', 'snat_ports'].map(
        (map) => `bpftool map pin pinned gen-1/${map} gen-2/${map}`,
      ),
    )
    expect(carrying).toEqual([])
  })

  test('is rebuilt if it is too small, with the counters of remaining slots', () => {
    const [before, after] = [many(64), many(65)]
    const { made, carrying } = steps(before, after)
    expect(made).toContain(
      'bpftool map create gen-2/backend_stats type percpu_array key 4 value 24 entries 128 name backend_stats',
    )
    expect(carrying).toEqual([
      {
        map: 'backendStats',
        from: PATHS.ownMap(1, { name: BALANCER_MAPS.backendStats }),
        to: PATHS.ownMap(2, { name: BALANCER_MAPS.backendStats }),
        slots: expect.toSatisfy((slots: number[]) => new Set(slots).size === 64),
      },
    ])
  })

  test('that is larger than needed is kept', () => {
    expect(steps(many(65), many(1)).made).toContain('bpftool map pin pinned gen-1/backend_stats gen-2/backend_stats')
  })

  test('has one entry without services, and no content is copied in either direction', () => {
    const none = balancing([])
    // There was no source pool, so its map is unchanged.
    expect(
      steps(many(2), none)
        .made.slice(0, 3)
        .every((line) => line.includes('entries 1 ')),
    ).toBe(true)
    expect(steps(many(2), none).carrying).toEqual([])
    expect(steps(none, many(2)).carrying).toEqual([])
    expect(steps(none, none).made.every((line) => line.includes('map pin pinned'))).toBe(true)
  })

  test('of flows is rebuilt if its number of lines changes', () => {
    const larger = { ...many(2), policy: { ...DEFAULT_POLICY, flows: 2048 } }
    expect(steps(many(2), larger).made[0]).toContain('map create gen-2/flows type array key 4 value 64 entries 256')
  })

  test('of ports keeps the ports of the pool when the pool grows', () => {
    const { carrying } = steps(many(1, ['192.0.2.20']), many(1, ['192.0.2.20', '192.0.2.21']))
    expect(carrying).toMatchObject([{ map: 'snatPorts', ranges: [{ first: 0, count: 2 * SNAT_PORTS }] }])
  })
})

test('counters start at zero if a slot has a new owner', () => {
  const [before, after] = [many(3), many(3)]
  const old = slotsFor(before)
  const moved = {
    ...slotsFor(after),
    backends: new Map([...old.backends.keys()].map((key, i) => [key, i === 0 ? 5 : i])),
  }
  const { zeroed } = steps(before, after, moved)
  expect(zeroed).toEqual([[PATHS.ownMap(2, { name: BALANCER_MAPS.backendStats }), 5]])
})

describe('health', () => {
  const unreachable = backend('10.0.0.1', { nextHop: undefined })
  const of = (...backends: Parameters<typeof service>[2][]): State =>
    balancing(backends.map((fields, i) => service(`s${i}`, `192.0.2.${i + 1} 80`, fields)))
  const health = (before: State, after: State, keepsHealth = true) => {
    const lowering = loweringBetween(before, after, slotsFor(after))
    const made = { ...lowering, target: { ...lowering.target, keepsHealth } }
    const bytesOf = (kind: 'write-health' | 'claim-health', all: ReturnType<typeof HEALTH.prepare>) =>
      all.flatMap((step) => (step.kind === kind ? [[...step.bytes]] : []))[0]
    return {
      fresh: bytesOf('write-health', HEALTH.prepare(made)),
      after: bytesOf('claim-health', HEALTH.committed(made)),
    }
  }

  test('is not written without services', () => {
    expect(health(balancing([]), balancing([]))).toEqual({ fresh: undefined, after: undefined })
  })

  test('marks a service without backends at once, and clears the mark later', () => {
    const [well, empty] = [of({ backends: ['10.0.0.1'] }), of({ backends: [unreachable] })]
    expect(health(well, empty).after).toEqual([[65_536, 1]])
    expect(health(empty, well).after).toEqual([[65_536, 0]])
    expect(health(well, well).after).toEqual([])
  })

  test('of slots with a new owner starts healthy', () => {
    const [before, after] = [of({ backends: ['10.0.0.1'] }), of({ backends: ['10.0.0.1', '10.0.0.2'] })]
    expect(health(before, after).fresh).toEqual([[1, 0]])
  })

  test('is reset to healthy if no daemon would ever reset it', () => {
    const [two, empty] = [of({ backends: ['10.0.0.1', '10.0.0.2'] }), of({ backends: [unreachable] })]
    expect(health(two, two, false).after).toEqual([
      [0, 0],
      [1, 0],
      [65_536, 0],
    ])
    expect(health(two, empty, false).after).toEqual([
      [0, 0],
      [65_536, 1],
    ])
  })
})

describe('carried content', () => {
  const decode = (data: Uint8Array) => carryHeaderCodec.decode(new DataView(data.buffer))

  test('is copied slot by slot in runs of bounded length, for each range of CPUs', () => {
    const slots = Array.from({ length: CARRY_SLOTS + 1 }, (_, i) => i * 2)
    const runs = carryData({ map: 'backendStats', from: '', to: '', slots }, parseCpus('0-3,8\n'))
    expect(runs.map(decode)).toEqual([
      { count: CARRY_SLOTS, first: 0, first_cpu: 0, cpus: 4 },
      { count: CARRY_SLOTS, first: 0, first_cpu: 8, cpus: 1 },
      { count: 1, first: 0, first_cpu: 0, cpus: 4 },
      { count: 1, first: 0, first_cpu: 8, cpus: 1 },
    ])
    expect(new DataView((runs[2] as Uint8Array).buffer).getUint32(64, true)).toBe(CARRY_SLOTS * 2)
  })

  test('of ports is copied line by line, to the last one', () => {
    const runs = carryData({ map: 'snatPorts', from: '', to: '', ranges: [{ first: 0, count: 2 * SNAT_PORTS }] }, [])
    expect(runs.map(decode).reduce((sum, { count }) => sum + count, 0)).toBe(2 * SNAT_PORTS)
    expect(runs.map(decode).at(-1)).toMatchObject({ first: 122_880, count: 8192 })
  })
})
