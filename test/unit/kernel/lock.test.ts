// The lock of an instance, held by flock(1) in a process of its own.

import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { acquireLock, isLocked, lockFile } from '../../../src/kernel/host/lock.ts'
import { interruptible } from '../../../src/kernel/tools/interrupt.ts'

const isRoot = process.getuid?.() === 0
const host = { bpffs: tmpdir(), instance: `lock-${process.pid}`, lockTimeoutMs: 0 } as const

test.runIf(isRoot)('an interrupt that came before leaves no process behind that holds the lock', async () => {
  const interrupt = AbortSignal.abort('SIGTERM')
  await expect(interruptible(interrupt, () => acquireLock(host))).rejects.toThrow('interrupted')
  const lock = await acquireLock(host)
  expect(await isLocked(await lockFile(host.bpffs, host.instance))).toBe(true)
  await lock.release()
  expect(await isLocked(await lockFile(host.bpffs, host.instance))).toBe(false)
})
