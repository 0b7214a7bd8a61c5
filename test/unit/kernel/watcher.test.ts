// The command that stops a daemon.
import { expect, test } from 'vitest'
import { stopCommand, unitOf } from '../../../src/kernel/host/watcher.ts'

test.each([
  ['0::/system.slice/xdp-watch.service\n', 'xdp-watch.service'],
  [
    '12:cpu:/\n1:name=systemd:/system.slice/xdp-watch@edge.service\n0::/system.slice/xdp-watch@edge.service\n',
    'xdp-watch@edge.service',
  ],
  ['0::/user.slice/user-0.slice/session-1.scope\n', undefined],
  ['0::/\n', undefined],
  ['', undefined],
])('the unit of a process in %j is %s', (cgroup, unit) => {
  expect(unitOf(cgroup)).toBe(unit)
})

test('a process that is not there, or not of a unit, is stopped by a signal', async () => {
  expect(await stopCommand(2 ** 22 + 1)).toBe('kill 4194305')
})
