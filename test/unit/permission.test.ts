// The hint of E104 for users, and for a root without capabilities.
import { expect, test } from 'vitest'
import {
  CAPABILITIES,
  type Capability,
  capabilitiesOf,
  permissionHint,
  refusalHint,
  writeHint,
} from '../../src/kernel/tools/permission.ts'

const LOADING = ['BPF', 'NET_ADMIN', 'PERFMON'] as const
const rights = (uid: number, ...names: readonly Capability[]) => ({
  uid,
  capabilities: names.reduce((set, name) => set | (1n << CAPABILITIES[name]), 0n),
})

test('a user runs it with sudo', () => {
  expect(permissionHint(LOADING, rights(1000))).toMatch(/^run it with sudo .*CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON/)
  expect(writeHint(rights(1000))).toBe('run it with sudo')
})

test.each([
  [[], 'CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON', '--cap-add BPF --cap-add NET_ADMIN --cap-add PERFMON', 'them'],
  [['NET_ADMIN'], 'CAP_BPF and CAP_PERFMON', '--cap-add BPF --cap-add PERFMON', 'them'],
  [['BPF', 'NET_ADMIN'], 'CAP_PERFMON', '--cap-add PERFMON', 'it'],
] as const)('root with %j gets those that it lacks', (has, lacks, flags, them) => {
  expect(permissionHint(LOADING, rights(0, ...has))).toBe(
    `this is root without ${lacks}: start the container with ${flags} (in a systemd unit, add ${them} to CapabilityBoundingSet)`,
  )
})

test('root with all of them is sent to the host', () => {
  expect(permissionHint(LOADING, rights(0, ...LOADING))).toContain('user namespace')
  expect(writeHint(rights(0, 'DAC_OVERRIDE'))).toContain('AppArmor')
  expect(writeHint(rights(0))).toContain('--cap-add DAC_OVERRIDE')
})

test('a seccomp filter is named where bpf(2) is refused in spite of capabilities', () => {
  const status = (effective: bigint, seccomp: number) => () =>
    `CapEff:\t${effective.toString(16).padStart(16, '0')}\nSeccomp:\t${seccomp}\n`
  const { capabilities } = rights(0, ...LOADING)
  const words = 'map create failed: Operation not permitted'
  expect(refusalHint(words, status(capabilities, 2))).toContain('seccomp')
  expect(refusalHint(words, status(capabilities, 0))).toBeUndefined()
  expect(refusalHint(words, status(0n, 2))).toBeUndefined()
  expect(refusalHint('map create failed: Invalid argument', status(capabilities, 2))).toBeUndefined()
})

test('reads effective capabilities from the status of a process', () => {
  expect(capabilitiesOf('CapPrm:\t0\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n')).toBe(0x1ffffffffffn)
  expect(capabilitiesOf('')).toBe(0n)
})
