// An exec check runs as its user, with that user's groups and without our capabilities.

import { expect, test } from 'vitest'
import { type ExecEnd, startExec } from '../../src/kernel/host/exec.ts'

const run = (user: string, ...command: readonly [string, ...string[]]): Promise<ExecEnd> =>
  new Promise((resolve) => startExec({ command, user, env: {} }, resolve))

test('has the uid, gid, groups and capabilities of the user', async () => {
  const end = await run(
    'nobody',
    '/bin/sh',
    '-c',
    'id -u; id -g; id -G; grep CapEff /proc/self/status; cat /etc/shadow',
  )
  expect(end).toMatchObject({ kind: 'exit', status: 1 })
  const { stdout, stderr } = end as { stdout: string; stderr: string }
  expect(stdout).toMatch(/^65534\n65534\n65534\nCapEff:\s+0+\n$/)
  expect(stderr).toContain('Permission denied')
})

test('runs as root for user root, with no output on stderr', async () => {
  expect(await run('root', '/usr/bin/id', '-u')).toEqual({ kind: 'exit', status: 0, stdout: '0\n', stderr: '' })
})
