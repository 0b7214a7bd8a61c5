// The difference of two policies that are compared and not applied.

import { describe, expect, test } from 'vitest'
import type { State } from '../../../src/model/state.ts'
import { changesBetween } from '../../../src/plan/between.ts'
import { diff } from '../../../src/plan/diff.ts'
import { EGRESS, service } from '../../support/services.ts'
import { ANY, list, live, PROGRAM, scoped, state } from '../../support/states.ts'

const summary = (from: State, to: State): string[] => changesBetween(from, to).map(({ op, key }) => `${op} ${key}`)
const web = (...backends: string[]) => service('web', '192.0.2.10 443', { backends })

describe('changes between two policies', () => {
  const old = state({
    policy: 'pass',
    lists: [list('blocklist', 'a', scoped(ANY, '192.0.2.1'))],
    services: [web('10.0.0.1')],
  })
  const now = state({
    policy: 'drop',
    lists: [list('blocklist', 'b', scoped(ANY, '192.0.2.1'))],
    services: [web('10.0.0.1', '10.0.0.2')],
  })

  test('are those of a plan, in its order, and the reverse in the other direction', () => {
    expect(summary(old, now)).toEqual(['update policy', 'create list:b', 'update service:web', 'delete list:a'])
    expect(summary(now, old)).toEqual(['update policy', 'create list:a', 'update service:web', 'delete list:b'])
    expect(summary(now, now)).toEqual([])
  })

  test('leave out the build, next hops, ports of sockets of the host, and the choice among permitted modes', () => {
    const kernel: State = {
      ...old,
      program: PROGRAM,
      localPorts: { first: 1, last: 2 },
      services: new Map(
        [...old.services].map(([name, one]) => [
          name,
          { ...one, backends: one.backends.map((backend) => ({ ...backend, nextHop: EGRESS })) },
        ]),
      ),
      interfaces: new Map([['eth0', { interface: 'eth0', modes: ['generic'], roles: ['balance', 'filter'] }]]),
    }
    const file: State = {
      ...old,
      interfaces: new Map([
        ['eth0', { interface: 'eth0', modes: ['native', 'generic'], roles: ['balance', 'filter'] }],
      ]),
    }
    expect(summary(file, kernel)).toEqual([])
    expect(summary(kernel, file)).toEqual([])
    const offload: State = {
      ...file,
      interfaces: new Map([['eth0', { interface: 'eth0', modes: ['native'], roles: ['balance', 'filter'] }]]),
    }
    expect(summary(kernel, offload)).toEqual(['replace interface:eth0'])
  })

  test('of configs are those of a plan from one to the other', () => {
    const planned = diff(now, live({ state: old })).map(({ op, key }) => `${op} ${key}`)
    expect(summary(old, now).toSorted()).toEqual(planned.toSorted())
  })
})
