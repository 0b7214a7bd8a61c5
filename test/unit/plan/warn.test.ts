import { expect, test } from 'vitest'
import type { Link } from '../../../src/model/live.ts'
import type { AttachMode, State } from '../../../src/model/state.ts'
import { plan } from '../../../src/plan/plan.ts'
import { ANY, desired, link, list, live, PROGRAM, scoped, state } from '../../support/states.ts'

const wanted = (...modes: readonly AttachMode[]) => state({ policy: 'pass', interfaces: { eth0: modes } })
const attached = (mode: AttachMode) => state({ program: PROGRAM, policy: 'pass', interfaces: { eth0: [mode] } })

function warnings(file: State, links: readonly Link[], now?: State, missing: 'error' | 'skip' = 'error') {
  const facts = now ? { state: now, links } : { links }
  return plan(desired(file, { eth0: { missing } }), live(facts), PROGRAM).warnings
}
const codes = (...args: Parameters<typeof warnings>) => warnings(...args).map(({ code }) => code)

test('native XDP on a veth turns off TSO on its peer', () => {
  expect(codes(wanted('native'), [link('eth0')])).toEqual(['W201'])
  expect(codes(wanted('generic'), [link('eth0')])).toEqual([])
})

test('an attached interface is not reported again', () => {
  expect(codes(wanted('native'), [link('eth0', { up: false })], attached('native'))).toEqual([])
})

test('an interface that is down is reported', () => {
  expect(codes(wanted('generic'), [link('eth0', { up: false })])).toEqual(['W202'])
})

test('devices without native XDP are reported before the kernel refuses', () => {
  expect(codes(wanted('native'), [link('eth0', { kind: 'vlan' })])).toEqual(['W208'])
})

test('a mode other than the first choice stays, with a hint to switch', () => {
  const [warning] = warnings(wanted('native', 'generic'), [link('eth0')], attached('generic'))
  expect(warning).toMatchObject({ code: 'W203', hint: 'to let apply switch it, write `mode: native`' })
})

test('a bond member is reported if another member is not filtered', () => {
  const bond = link('bond0', { kind: 'bond' })
  const member = link('eth0', { kind: 'physical', master: 'bond0' })
  const other = link('eth1', { kind: 'physical', master: 'bond0' })
  expect(codes(wanted('generic'), [bond, member])).toEqual([])
  const [warning] = warnings(wanted('generic'), [bond, member, other])
  expect(warning).toMatchObject({ code: 'W204' })
  expect(warning?.hint).toContain('eth1')
})

test('a bridge port is reported, because it filters forwarded frames too', () => {
  const links = [link('br0', { kind: 'bridge' }), link('eth0', { master: 'br0' })]
  expect(codes(wanted('generic'), links)).toEqual(['W204'])
})

test('a skipped interface is reported, and that no interface is left', () => {
  expect(codes(wanted('generic'), [], undefined, 'skip')).toEqual(['W200', 'W207'])
})

test('a different ABI restarts counters, with a warning', () => {
  const now = { ...attached('generic'), program: { digest: 'ff', abi: 0 } }
  expect(codes(wanted('generic'), [link('eth0')], now)).toEqual(['W206'])
})

test('default drop without an allowlist entry is reported, as a whole or for the interfaces without one', () => {
  const dropping = (...interfaces: string[]) =>
    warnings(
      state({
        policy: 'drop',
        interfaces: { eth0: ['generic'], eth1: ['generic'] },
        lists: interfaces.map((name) =>
          list('allowlist', `list-${name}`, scoped(name === 'any' ? ANY : { ...ANY, interfaces: [name] }, '192.0.2.1')),
        ),
      }),
      [link('eth0'), link('eth1', { ifindex: 9 })],
    )
  expect(dropping()).toMatchObject([{ code: 'W205', message: expect.stringContaining('the allowlist is empty') }])
  expect(dropping('eth0')).toMatchObject([{ code: 'W205', message: expect.stringMatching(/applies on eth1$/) }])
  expect(dropping('eth0', 'eth1')).toEqual([])
  expect(dropping('eth0', 'any')).toEqual([])
})
