// Packets whose answers get lost: from a VIP that this host has, and to a backend that is its own client.
import { expect, test } from 'vitest'
import { adviceFor, isOwnClient, martianInterfaces } from '../../../src/plan/own-vip.ts'
import { address, service } from '../../support/services.ts'

const OWN = {
  ownAddresses: [address('192.0.2.10'), address('2001:db8::10')],
  forwards: { v4: true, v6: true },
  acceptsLocal: new Set<string>(),
}
const direct = service('web', '192.0.2.10 80', { forwarding: 'dsr', backends: ['10.0.0.11', '10.0.0.12'] })

test('answers from a VIP of this host are lost on the interfaces of the backends', () => {
  expect(martianInterfaces(direct, OWN)).toEqual(['eth1'])
  expect(martianInterfaces({ ...direct, forwarding: 'ipip' }, OWN)).toEqual(['eth1'])
  expect(martianInterfaces({ ...direct, forwarding: 'nat' }, OWN)).toEqual([])
  expect(martianInterfaces({ ...direct, vip: address('192.0.2.11') }, OWN)).toEqual([])
  expect(martianInterfaces({ ...direct, vip: address('2001:db8::10') }, OWN)).toEqual([])
  expect(martianInterfaces(direct, { ...OWN, forwards: { v4: false, v6: true } })).toEqual([])
  expect(martianInterfaces(direct, { ...OWN, acceptsLocal: new Set(['eth1']) })).toEqual([])
})

test('a backend is its own client only of plain nat', () => {
  const nat = service('web', '192.0.2.11 80', { backends: ['10.0.0.11'] })
  expect(isOwnClient(nat, address('10.0.0.11'))).toBe(true)
  expect(isOwnClient(nat, address('10.0.0.12'))).toBe(false)
  expect(isOwnClient({ ...nat, snatPool: [address('10.0.0.1')] }, address('10.0.0.11'))).toBe(false)
  expect(isOwnClient({ ...nat, forwarding: 'ipip' }, address('10.0.0.11'))).toBe(false)
  expect(adviceFor(nat, address('10.0.0.11'), OWN)).toEqual([expect.stringContaining('`snat_pool`')])
  expect(adviceFor(direct, address('10.0.0.11'), OWN)).toEqual([expect.stringContaining('accept_local=1')])
  expect(adviceFor(nat, address('198.51.100.1'), OWN)).toEqual([])
})
