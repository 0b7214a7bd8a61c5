// The daemon saves bans every minute, and says once what keeps it from doing so.

import { expect, test } from 'vitest'
import type { Desired } from '../../../src/model/desired.ts'
import { keepBans } from '../../../src/watch/ban-keeper.ts'
import { FakeTimer } from '../../support/timer.ts'

test('trouble that stays is reported once, and again when it is another one or comes back', async () => {
  const answers = ['full', 'full', 'full', 'read-only', undefined, 'full', 'full']
  const [timer, heard, count] = [new FakeTimer(), [] as unknown[], answers.length]
  const host = { bpffs: '/sys/fs/bpf', instance: 'default', lockTimeoutMs: 0 }
  const keeper = keepBans(
    host,
    timer,
    (event) => heard.push(event),
    async () => answers.shift(),
  )
  keeper.follow({ persist: true } as Desired)
  for (let left = count; left > 0; left--) {
    timer.advance(60_000)
    await new Promise(setImmediate)
    expect(answers).toHaveLength(left - 1)
  }
  const trouble = (what: string) => ({ event: 'trouble', what })
  expect(heard).toEqual([trouble('full'), trouble('read-only'), trouble('full')])
  await keeper.close()
})
