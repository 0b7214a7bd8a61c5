// Source pools on this host: the order of their addresses, and the ports of the host.

import { describe, expect, test } from 'vitest'
import { guardServices } from '../../../src/plan/guard-services.ts'
import { portsLeft, withPools } from '../../../src/plan/source-pools.ts'
import { address, backend, balancing, service } from '../../support/services.ts'
import { desired, live } from '../../support/states.ts'

const web = (...snatPool: readonly string[]) =>
  service('web', '192.0.2.10 80', { backends: [backend('10.0.0.1')], snatPool })
const EMPTY = live()

/** The last bytes of the addresses of the pool, and the ports of the host. */
function poolOf(facts: typeof EMPTY, ...pool: readonly string[]) {
  const wanted = balancing([web(...pool)]).services
  const found = withPools(wanted, facts).get('web')
  return found?.snatPool.map(({ words, hostPorts }) => [(words[0] as number) & 255, hostPorts?.first])
}

describe('withPools', () => {
  test('keeps a new pool in canonical order', () => {
    expect(poolOf(EMPTY, '192.0.2.20', '192.0.2.21')).toEqual([
      [20, undefined],
      [21, undefined],
    ])
  })

  test('puts added addresses behind those of the live pool, whatever its order', () => {
    const facts = live({ state: balancing([web('192.0.2.22', '192.0.2.20')]) })
    expect(poolOf(facts, '192.0.2.19', '192.0.2.20', '192.0.2.21', '192.0.2.22')?.map(([byte]) => byte)).toEqual([
      22, 20, 19, 21,
    ])
    expect(poolOf(facts, '192.0.2.19', '192.0.2.20')?.map(([byte]) => byte)).toEqual([20, 19])
  })

  test('adds the ports of the host to its own addresses', () => {
    const facts = { ...EMPTY, ownAddresses: [address('192.0.2.21')] }
    expect(poolOf(facts, '192.0.2.20', '192.0.2.21')).toEqual([
      [20, undefined],
      [21, 32_768],
    ])
  })
})

test.each([
  [32_768, 60_999, 36_280],
  [1024, 65_535, 0],
  [1, 1023, 64_512],
  [500, 2047, 63_488],
])('ports %i to %i of the host leave %i', (first, last, left) => {
  expect(portsLeft({ first, last })).toBe(left)
})

test.each([
  [{ first: 32_768, last: 60_999 }, '192.0.2.20', []],
  [{ first: 10_000, last: 65_535 }, '192.0.2.20', ['E217']],
  [{ first: 10_000, last: 65_535 }, '192.0.2.99', []],
])('guard: %j with own address %s', (localPorts, own, codes) => {
  const facts = { ...EMPTY, localPorts, ownAddresses: [address(own)] }
  expect(guardServices(desired(balancing([web('192.0.2.20')])), facts).map(({ code }) => code)).toEqual(codes)
})
