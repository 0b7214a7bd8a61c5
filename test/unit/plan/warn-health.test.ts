// Health checks whose answers the policy itself drops.
import { describe, expect, test } from 'vitest'
import type { TcpCheck } from '../../../src/model/health.ts'
import { DEFAULT_POLICY, type Established } from '../../../src/model/policy.ts'
import type { Role } from '../../../src/model/state.ts'
import { warnHealth } from '../../../src/plan/warn-health.ts'
import { check } from '../../support/backends.ts'
import { address, backend, EGRESS, service } from '../../support/services.ts'
import { ANY, desired, list, live, scoped, state } from '../../support/states.ts'

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
  return warnHealth({ ...desired(wanted), health }, wanted, live())
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

test('answers to checks through the VIP belong to the service, and are not reported', () => {
  const wanted = state({
    policy: 'drop',
    services: [service('web', '192.0.2.10 80', { forwarding: 'dsr', backends: ['10.0.0.11'] })],
    interfaces: { [EGRESS.interface]: ['native'] },
  })
  const of = (more: Partial<TcpCheck>) => ({
    minHealthy: { kind: 'count', value: 1 } as const,
    fallback: 'drop' as const,
    checks: new Map([['10.0.0.11', check({ address: address('192.0.2.10'), ...more })]]),
  })
  const warned = (more: Partial<TcpCheck>) =>
    warnHealth({ ...desired(wanted), health: new Map([['web', of(more)]]) }, wanted, live()).map(({ code }) => code)
  expect(warned({ via: 'vip' })).toEqual([])
  expect(warned({})).toEqual(['W221'])
})

test('answers that are allowed, belong to connections that pass, or arrive unfiltered, are not reported', () => {
  expect(warnings('pass')).toEqual([])
  expect(warnings('drop', { established: 'pass' })).toEqual([])
  expect(warnings('drop', { allowed: ['10.0.0.0/24'] })).toEqual([])
  expect(warnings('drop', { roles: ['balance'] })).toEqual([])
})

describe('W256', () => {
  const range = (text: string) => {
    const [first = 0, last = first] = text.split('-').map(Number)
    return { first, last }
  }
  const warned = (ports: string, reserved: readonly string[] = [], through: Partial<TcpCheck> = { via: 'vip' }) => {
    const wanted = state({
      services: [service('web', '192.0.2.10 80', { forwarding: 'dsr', backends: ['10.0.0.11'] })],
    })
    const checks = new Map([['10.0.0.11', check({ address: address('192.0.2.10'), ...through })]])
    const health = { minHealthy: { kind: 'count', value: 1 } as const, fallback: 'drop' as const, checks }
    const facts = live({ localPorts: range(ports), reservedPorts: reserved.map(range) })
    return warnHealth({ ...desired(wanted), health: new Map([['web', health]]) }, wanted, facts)
  }

  test.each([
    ['the default range', '32768-60999', []],
    ['a range behind those ports', '65096-65535', []],
    ['reserved ports', '1024-65535', ['61000-65095']],
    ['ports reserved in parts', '1024-65535', ['22', '60000-62000', '62001-65535']],
    ['the only common port reserved', '1024-61000', ['61000']],
  ])('does not appear with %s', (_, ports, reserved) => {
    expect(warned(ports, reserved)).toEqual([])
  })

  test('does not appear without checks through VIPs', () => {
    expect(warned('1024-65535', [], {})).toEqual([])
  })

  test('names the command that reserves the ports besides those that are', () => {
    const hint = (...reserved: readonly string[]) =>
      warned('1024-65535', reserved).map((one) => `${one.code} ${one.hint}`)
    const command = 'W256 sysctl -w net.ipv4.ip_local_reserved_ports='
    expect(hint()).toEqual([`${command}61000-65095`])
    expect(hint('22', '61000-62000', '65100')).toEqual([`${command}22,61000-65095,65100`])
    expect(hint('61001-65535')).toEqual([`${command}61000-65095,61001-65535`])
    expect(warned('1024-61000')).toHaveLength(1)
    expect(warned('65095-65535')).toHaveLength(1)
  })
})
