// The loop: what starts a round, what a round does, and the events it emits.
import { afterEach, describe, expect, test } from 'vitest'
import { fail } from '../../../src/diagnostics.ts'
import type { Look } from '../../../src/watch/files/config-file.ts'
import { settle } from '../../support/clock.ts'
import { bad, config, type Daemon, good, startDaemon } from '../../support/daemon.ts'
import { foreign, link } from '../../support/states.ts'

const DETACHED = { key: 'interface:eth0', what: 'detached since the last apply' } as const
const GUARD = fail('E200', 'another program is there')
const KERNEL = fail('E101', 'bpftool failed')

let daemon: Daemon
afterEach(() => daemon.loop.stop())

describe('the start', () => {
  test('applies the file, then reports ready', async () => {
    daemon = await startDaemon(config('a'))
    expect(daemon.kernel.calls).toEqual(['apply', 'applied a'])
    expect(daemon.takeEvents()).toEqual(['applied', 'ready'])
    expect(daemon.book.state()).toMatchObject({ ready: true, last: { trigger: 'start', outcome: 'applied' } })
  })

  test('takes over a matching live state without a write', async () => {
    daemon = await startDaemon(config('a'), (kernel) => {
      kernel.runs = 'a'
    })
    expect(daemon.kernel.calls).toEqual(['apply'])
    expect(daemon.takeEvents()).toEqual(['in-sync', 'ready'])
  })

  test('reports ready only after a refused apply succeeds', async () => {
    daemon = await startDaemon(config('a'), (kernel) => {
      kernel.refusal = GUARD
    })
    expect(daemon.takeEvents()).toEqual(['refused'])
    expect(daemon.book.state()).toMatchObject({ ready: false, errors: [{ code: 'E200' }] })
    daemon.kernel.refusal = undefined
    await daemon.clock.pass(1000)
    expect(daemon.takeEvents()).toEqual(['applied', 'recovered', 'ready'])
    expect(daemon.book.state()).toMatchObject({ ready: true, errors: [], failingSince: undefined })
  })

  test.each(['E230', 'E231', 'E239'] as const)(
    'reports ready beside %s, which keeps a policy in force',
    async (code) => {
      daemon = await startDaemon(config('a'), (kernel) => {
        kernel.refusal = fail(code, 'held')
      })
      expect(daemon.takeEvents()).toEqual(['refused', 'ready'])
      expect(daemon.book.state()).toMatchObject({ ready: true, errors: [{ code }] })
      daemon.kernel.refusal = undefined
      await daemon.clock.pass(1000)
      expect(daemon.takeEvents()).toEqual(['applied', 'recovered'])
    },
  )

  test('with on_drift: report leaves drift in place, but applies an edit', async () => {
    daemon = await startDaemon(config('a', { onDrift: 'report' }), (kernel) => {
      kernel.runs = 'a'
      kernel.drift = [DETACHED]
    })
    expect(daemon.takeEvents()).toEqual(['drift', 'ready'])
    expect(daemon.kernel.calls).toEqual(['apply', 'declined'])
    await daemon.loop.stop()
    daemon = await startDaemon(config('b', { onDrift: 'report' }), (kernel) => {
      kernel.runs = 'a'
      kernel.drift = [DETACHED]
    })
    expect(daemon.kernel.calls).toEqual(['apply', 'applied b'])
  })
})

describe('an edit', () => {
  test('is applied', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    await daemon.edit(good('b'))
    expect(daemon.kernel.runs).toBe('b')
    expect(daemon.events).toMatchObject([{ event: 'applied', trigger: 'edit', sha256: 'b' }])
  })

  test('during a reconcile waits; several edits make one more reconcile', async () => {
    daemon = await startDaemon(config('a'))
    let open = (): void => undefined
    daemon.kernel.gate = new Promise((resolve) => {
      open = resolve
    })
    await daemon.edit(good('b'))
    for (const name of ['c', 'd', 'e']) await daemon.edit(good(name))
    expect(daemon.kernel.calls).toEqual(['apply', 'applied a', 'apply'])
    open()
    await settle()
    expect(daemon.kernel.calls).toEqual(['apply', 'applied a', 'apply', 'applied b', 'apply', 'applied e'])
  })

  test('that matches the config in force reconciles nothing', async () => {
    daemon = await startDaemon(config('a'))
    await daemon.edit(good('a'))
    await daemon.edit({ kind: 'same' })
    expect(daemon.kernel.calls).toEqual(['apply', 'applied a'])
  })

  test('that only makes a feed younger is applied, because the guard on old feeds may now accept it', async () => {
    const aged = (updatedAt: number): Look => {
      const { desired } = config('a')
      const at = { file: 'xdp.yaml', line: 1, column: 1, length: 1 }
      const counts = { entries: 1, skipped: 0, private: 0, wide: 0, notes: [] }
      const files = [{ path: 'feed.txt', format: 'plain', updatedAt, ...counts }]
      const feed = { list: 'feed', at, files, maxAge: 60, maxShrink: 1, maxGrowth: 100, inline: [] }
      return { kind: 'good', loaded: { desired: { ...desired, feeds: [feed] }, warnings: [] } }
    }
    daemon = await startDaemon(config('a'))
    await daemon.edit(aged(1))
    daemon.takeEvents()
    await daemon.edit(aged(2))
    expect(daemon.takeEvents()).toEqual(['in-sync'])
    await daemon.edit(aged(2))
    expect(daemon.takeEvents()).toEqual([])
  })

  test('is applied again on a reload', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    await daemon.edit({ kind: 'same' })
    await daemon.loop.request('reload')
    expect(daemon.takeEvents()).toEqual(['reload'])
  })

  test('of the settings under watch takes effect at once', async () => {
    daemon = await startDaemon(config('a', { resyncMs: 5000 }))
    await daemon.edit(good('b', { resyncMs: 1000 }))
    const before = daemon.kernel.calls.length
    await daemon.clock.pass(3000)
    expect(daemon.kernel.calls.slice(before)).toEqual(['check', 'check', 'check'])
  })
})

describe('an announced edit', () => {
  test('prepares an apply, which the edit then uses', async () => {
    daemon = await startDaemon(config('a'))
    daemon.loop.expect()
    expect(daemon.kernel.isPrepared).toBe(true)
    await daemon.edit(good('b'))
    expect([daemon.kernel.isPrepared, daemon.kernel.runs]).toEqual([false, 'b'])
  })

  test('that does not come leaves nothing prepared', async () => {
    daemon = await startDaemon(config('a'))
    for (const look of [{ kind: 'same' } as const, bad('broken')]) {
      daemon.loop.expect()
      await daemon.edit(look)
      expect(daemon.kernel.isPrepared).toBe(false)
    }
    daemon.loop.expect()
    await daemon.loop.stop()
    expect(daemon.kernel.isPrepared).toBe(false)
    daemon.loop.expect()
    expect(daemon.kernel.isPrepared).toBe(false)
  })

  test('prepares nothing while a failed apply waits for its time', async () => {
    daemon = await startDaemon(config('a'))
    daemon.kernel.failure = KERNEL
    await daemon.edit(good('b'))
    daemon.loop.expect()
    expect(daemon.kernel.isPrepared).toBe(false)
  })

  test('during a reconcile prepares after it', async () => {
    daemon = await startDaemon(config('a'))
    let open = (): void => undefined
    daemon.kernel.gate = new Promise((resolve) => {
      open = resolve
    })
    await daemon.edit(good('b'))
    daemon.loop.expect()
    expect(daemon.kernel.isPrepared).toBe(false)
    open()
    await settle()
    expect(daemon.kernel.isPrepared).toBe(true)
  })

  test('during a reconcile prepares nothing if the next round already reads it', async () => {
    daemon = await startDaemon(config('a'))
    let open = (): void => undefined
    daemon.kernel.gate = new Promise((resolve) => {
      open = resolve
    })
    await daemon.edit(good('b'))
    daemon.loop.expect()
    await daemon.edit(good('c'))
    open()
    await settle()
    expect([daemon.kernel.runs, daemon.kernel.isPrepared]).toEqual(['c', false])
  })
})

describe('a bad edit', () => {
  test('is reported once, after half a second, and is over with the next valid file', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    await daemon.edit(bad('broken'))
    await daemon.clock.pass(499)
    expect(daemon.takeEvents()).toEqual([])
    await daemon.clock.pass(1)
    expect(daemon.events).toMatchObject([{ event: 'bad-config', errors: [{ message: 'broken' }] }])
    daemon.takeEvents()
    await daemon.edit(bad('broken'))
    await daemon.clock.pass(10_000)
    expect(daemon.takeEvents()).toEqual([])
    expect(daemon.book.state()).toMatchObject({ config: { sha256: 'a' }, errors: [{ code: 'E005' }] })
    await daemon.edit(good('a'))
    expect(daemon.takeEvents()).toEqual(['config-fixed'])
    expect(daemon.book.state().errors).toEqual([])
    expect(daemon.kernel.calls.filter((call) => call !== 'check')).toEqual(['apply', 'applied a'])
  })

  test('that is fixed within half a second is not reported', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    await daemon.edit(bad('empty'))
    await daemon.clock.pass(300)
    await daemon.edit(good('b'))
    await daemon.clock.pass(5000)
    expect(daemon.takeEvents()).toEqual(['applied'])
  })

  test('with another mistake is reported again', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    for (const message of ['one', 'two']) {
      await daemon.edit(bad(message))
      await daemon.clock.pass(1000)
    }
    expect(daemon.takeEvents()).toEqual(['bad-config', 'bad-config'])
  })

  test('leaves the last good config in force, drift repairs included', async () => {
    daemon = await startDaemon(config('a'))
    await daemon.edit(bad('broken'))
    await daemon.clock.pass(1000)
    daemon.kernel.drift = [DETACHED]
    await daemon.clock.pass(60_000)
    expect(daemon.kernel.drift).toEqual([])
    expect(daemon.kernel.runs).toBe('a')
    expect(daemon.book.state().errors).toHaveLength(1)
  })
})

describe('a failed apply', () => {
  test('is reported once and retried after 1, 2, 4 … seconds, at most five minutes', async () => {
    daemon = await startDaemon(config('a'), (kernel) => {
      kernel.failure = KERNEL
    })
    expect(daemon.takeEvents()).toEqual(['failed'])
    const tries = async (ms: number): Promise<number> => {
      const before = daemon.kernel.calls.length
      await daemon.clock.pass(ms)
      return daemon.kernel.calls.length - before
    }
    expect(await tries(999)).toBe(0)
    expect(await tries(1)).toBe(1)
    expect(await tries(1999)).toBe(0)
    expect(await tries(1)).toBe(1)
    await daemon.clock.pass(3_600_000)
    expect(await tries(3_600_000)).toBe(12)
    expect(daemon.takeEvents()).toEqual([])
  })

  test('waits for its time despite kernel events, but not after another edit', async () => {
    daemon = await startDaemon(config('a'))
    daemon.kernel.failure = KERNEL
    await daemon.edit(good('b'))
    daemon.kernel.links = new Map([['eth0', link('eth0', { ifindex: 9 })]])
    const before = daemon.kernel.calls.length
    await daemon.loop.request('links')
    await daemon.loop.request('resync')
    expect(daemon.kernel.calls.length).toBe(before)
    daemon.kernel.failure = undefined
    await daemon.edit(good('c'))
    expect(daemon.kernel.runs).toBe('c')
  })

  test('with an unexpected error is reported as E999 and does not end the loop', async () => {
    daemon = await startDaemon(config('a'), (kernel) => {
      kernel.failure = new TypeError('undefined is not a function')
    })
    expect(daemon.events).toMatchObject([{ event: 'failed', errors: [{ code: 'E999' }] }])
    daemon.kernel.failure = undefined
    await daemon.clock.pass(1000)
    expect(daemon.kernel.runs).toBe('a')
  })

  test('does not count if it was interrupted', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    daemon.kernel.failure = fail('E112', 'interrupted')
    await daemon.edit(good('b'))
    expect(daemon.takeEvents()).toEqual([])
  })
})

describe('a refused apply', () => {
  test('is retried when an interface changes, and not before', async () => {
    daemon = await startDaemon(config('a'), (kernel) => {
      kernel.refusal = GUARD
      kernel.links = new Map([['eth0', link('eth0', { programs: [foreign()] })]])
    })
    const before = daemon.kernel.calls.length
    await daemon.loop.request('links')
    expect(daemon.kernel.calls.length).toBe(before)
    daemon.kernel.refusal = undefined
    daemon.kernel.links = new Map([['eth0', link('eth0')]])
    await daemon.loop.request('links')
    expect(daemon.kernel.runs).toBe('a')
    expect(daemon.takeEvents()).toEqual(['refused', 'applied', 'recovered', 'ready'])
  })

  test('leaves the old policy in force, and the next edit is applied at once', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    daemon.kernel.refusal = GUARD
    await daemon.edit(good('b'))
    expect([daemon.kernel.runs, daemon.takeEvents()]).toEqual(['a', ['refused']])
    daemon.kernel.refusal = undefined
    await daemon.edit(good('c'))
    expect([daemon.kernel.runs, daemon.takeEvents()]).toEqual(['c', ['applied', 'recovered']])
  })
})

describe('drift', () => {
  const drifted = async (): Promise<void> => {
    daemon.kernel.drift = [DETACHED]
    daemon.kernel.links = new Map([['eth0', link('eth0', { programs: [foreign({ id: 77 })] })]])
    await daemon.loop.request('links')
    daemon.kernel.links = new Map([['eth0', link('eth0')]])
  }

  test('is found and repaired at a resync', async () => {
    daemon = await startDaemon(config('a', { resyncMs: 60_000 }))
    daemon.takeEvents()
    daemon.kernel.drift = [DETACHED]
    await daemon.clock.pass(59_999)
    expect(daemon.kernel.drift).toHaveLength(1)
    await daemon.clock.pass(1)
    expect(daemon.kernel.drift).toEqual([])
    expect(daemon.takeEvents()).toEqual(['drift', 'applied'])
  })

  test('on an interface is repaired at once; a link event without changes only reads the links', async () => {
    daemon = await startDaemon(config('a'))
    const before = daemon.kernel.calls.length
    await daemon.loop.request('links')
    expect(daemon.kernel.calls.length).toBe(before)
    daemon.takeEvents()
    await drifted()
    expect(daemon.takeEvents()).toEqual(['drift', 'applied'])
  })

  test('that returns after each repair waits longer and longer', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    const repairs: number[] = []
    for (let second = 0; second < 120; second++) {
      await drifted()
      await daemon.clock.pass(1000)
      if (daemon.kernel.drift.length === 0) repairs.push(second)
    }
    expect(repairs.length).toBeLessThan(10)
    expect(repairs[0]).toBe(0)
    expect(daemon.events.some((event) => event.event === 'drift' && event.action === 'hold')).toBe(true)
    expect(daemon.book.state().drift).toEqual([DETACHED])
    // It is repaired in the end, and after a quiet time the next repair does not wait.
    await daemon.clock.pass(700_000)
    expect(daemon.kernel.drift).toEqual([])
    await drifted()
    expect(daemon.kernel.drift).toEqual([])
  })

  test('that waits for its repair reports "recovered" only after the repair', async () => {
    daemon = await startDaemon(config('a'))
    await drifted()
    daemon.kernel.refusal = GUARD
    daemon.kernel.links = new Map([['eth0', link('eth0', { programs: [foreign({ id: 78 })] })]])
    await daemon.loop.request('links')
    daemon.takeEvents()
    daemon.kernel.refusal = undefined
    daemon.kernel.drift = [DETACHED]
    daemon.kernel.links = new Map([['eth0', link('eth0')]])
    await daemon.loop.request('links')
    expect(daemon.takeEvents()).toEqual(['drift'])
    expect([daemon.kernel.drift, daemon.book.state().errors]).toEqual([[DETACHED], []])
    await daemon.clock.pass(1000)
    expect(daemon.takeEvents()).toEqual(['drift', 'applied', 'recovered'])
    expect(daemon.kernel.drift).toEqual([])
  })

  test('of an interface that was created again never waits', async () => {
    daemon = await startDaemon(config('a'))
    for (let ifindex = 10; ifindex < 30; ifindex++) {
      daemon.kernel.drift = [DETACHED]
      daemon.kernel.links = new Map([['eth0', link('eth0', { ifindex })]])
      await daemon.loop.request('links')
      expect(daemon.kernel.drift).toEqual([])
    }
  })

  test('of a bond whose members change never waits', async () => {
    const eth0 = link('eth0', { ifindex: 9, kind: 'bond' })
    daemon = await startDaemon(config('a'), (kernel) => {
      kernel.links = new Map([['eth0', eth0]])
    })
    for (let ifindex = 10; ifindex < 30; ifindex++) {
      daemon.kernel.drift = [DETACHED]
      daemon.kernel.links = new Map([eth0, link('eth1', { ifindex, master: 'eth0' })].map((one) => [one.name, one]))
      await daemon.loop.request('links')
      expect(daemon.kernel.drift).toEqual([])
    }
  })

  test('reports the trigger that found it, though files were touched at the same time', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    daemon.kernel.drift = [DETACHED]
    daemon.kernel.links = new Map([['eth0', link('eth0', { programs: [foreign()] })]])
    await Promise.all([daemon.loop.request('edit'), daemon.loop.request('links')])
    expect(daemon.events).toMatchObject([{ event: 'drift' }, { event: 'applied', trigger: 'kernel' }])
  })

  test('says that the addresses of this machine changed, unless the files did too', async () => {
    daemon = await startDaemon(config('a'))
    daemon.takeEvents()
    await daemon.edit(good('b'), 'addresses')
    expect(daemon.events).toMatchObject([{ event: 'applied', trigger: 'addresses' }])
    daemon.takeEvents()
    await daemon.edit(good('c'), 'edit', 'addresses')
    expect(daemon.events).toMatchObject([{ event: 'applied', trigger: 'edit' }])
  })

  test('with on_drift: report is reported once, stays, and its end is reported', async () => {
    daemon = await startDaemon(config('a', { onDrift: 'report' }))
    daemon.takeEvents()
    daemon.kernel.drift = [DETACHED]
    await daemon.clock.pass(300_000)
    expect(daemon.events).toMatchObject([{ event: 'drift', action: 'report', drift: [DETACHED] }])
    expect(daemon.kernel.drift).toHaveLength(1)
    expect(daemon.book.state()).toMatchObject({ drift: [DETACHED], last: { outcome: 'held' } })
    daemon.takeEvents()
    daemon.kernel.drift = []
    await daemon.clock.pass(60_000)
    expect(daemon.takeEvents()).toEqual(['drift-gone'])
    expect(daemon.book.state().drift).toEqual([])
  })

  test('with on_drift: report is repaired by the next edit', async () => {
    daemon = await startDaemon(config('a', { onDrift: 'report' }))
    daemon.kernel.drift = [DETACHED]
    await daemon.edit(good('b', { onDrift: 'report' }))
    expect(daemon.kernel.drift).toEqual([])
  })
})

test('a stopped loop ignores requests', async () => {
  daemon = await startDaemon(config('a'))
  await daemon.loop.stop()
  const before = daemon.kernel.calls.length
  await daemon.edit(good('b'))
  await daemon.clock.pass(600_000)
  expect(daemon.kernel.calls.length).toBe(before)
  expect(daemon.clock.waiting()).toBe(0)
})

describe('a rollback', () => {
  let over: string | undefined
  const old = config('old')

  /** A daemon beside a history in which `old` holds in place of the config named `over`. */
  const start = (first: string): Promise<Daemon> =>
    startDaemon(config(first), undefined, (file) => (file.desired.config.sha256 === over ? old : file))

  test('while it runs makes the other policy the wanted one, which it repairs, until the file changes', async () => {
    over = undefined
    daemon = await start('a')
    over = 'a'
    daemon.kernel.runs = 'old'
    await daemon.loop.request('kernel')
    expect(daemon.kernel.calls.filter((call) => call.startsWith('applied'))).toEqual(['applied a'])
    expect(daemon.loop.wanted().config.sha256).toBe('old')

    daemon.kernel.drift = [DETACHED]
    await daemon.loop.request('kernel')
    expect(daemon.kernel.runs).toBe('old')
    expect(daemon.kernel.drift).toEqual([])
    // Written again with unchanged content.
    await daemon.edit(good('a'))
    expect(daemon.kernel.runs).toBe('old')
    await daemon.edit(good('b'))
    expect(daemon.kernel.runs).toBe('b')
  })

  test('before the start holds from the first reconcile on, and ends with an apply of the file', async () => {
    over = 'a'
    daemon = await start('a')
    expect(daemon.kernel.calls.filter((call) => call.startsWith('applied'))).toEqual(['applied old'])
    over = undefined
    daemon.kernel.runs = 'a'
    await daemon.loop.request('kernel')
    expect(daemon.loop.wanted().config.sha256).toBe('a')
    expect(daemon.kernel.runs).toBe('a')
  })
})
