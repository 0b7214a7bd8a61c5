// Health checks whose answers the policy itself drops.
import { expect, test } from 'vitest'
import { DEFAULT_POLICY, type Established } from '../../../src/model/policy.ts'
import type { Role } from '../../../src/model/state.ts'
import { warnHealth } from '../../../src/plan/warn-health.ts'
import { check } from '../../support/backends.ts'
import { backend, EGRESS, service } from '../../support/services.ts'
import { ANY, desired, list, scoped, state } from '../../support/states.ts'

const WEB = service('web', '192.0.2.10 80', {
  backends: ['10.0.0.11', '10.0.0.12', backend('10.0.0.13', { nextHop: undefined })],
})

function warnings(
  policy: 'pass' | 'drop',
  {
    allowed = [],
    roles = ['filter', 'balance'],
    established = 'judge',
  }: { allowed?: readonly string[]; roles?: readonly Role[]; established?: Established } = {},
) {
  const lists = allowed.length > 0 ? [list('allowlist', 'servers', scoped(ANY, ...allowed))] : []
  const parts = { interfaces: { [EGRESS.interface]: ['native' as const] }, roles: [...roles] }
  const wanted = {
    ...state({ policy, lists, services: [WEB], ...parts }),
    policy: { ...DEFAULT_POLICY, default: policy, established },
  }
  const checks = new Map(
    WEB.backends.map(({ address: { family, words } }) => [
      `10.0.0.${(words[0] as number) & 255}`,
      check({ address: { family, words } }),
    ]),
  )
  const health = new Map([
    ['web', { minHealthy: { kind: 'count', value: 1 } as const, fallback: 'drop' as const, checks }],
  ])
  return warnHealth({ ...desired(wanted), health }, wanted)
}

test('answers that default drop would drop are reported, for backends with a known next hop', () => {
  expect(warnings('drop')).toMatchObject([
    {
      code: 'W221',
      message:
        'service web: eth1 drops answers of 10.0.0.11 and 1 more to health checks, so these backends will be down',
      hint: 'allow the backends: `allowlist: [10.0.0.11]`',
    },
  ])
  expect(warnings('drop', { allowed: ['10.0.0.11'] })[0]?.message).toContain('answers of 10.0.0.12 to')
})

test('answers that are allowed, belong to connections that pass, or arrive unfiltered, are not reported', () => {
  expect(warnings('pass')).toEqual([])
  expect(warnings('drop', { established: 'pass' })).toEqual([])
  expect(warnings('drop', { allowed: ['10.0.0.0/24'] })).toEqual([])
  expect(warnings('drop', { roles: ['balance'] })).toEqual([])
})
