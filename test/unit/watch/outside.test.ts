// The daemon's interfaces to the outside: kernel events, systemd, the metrics endpoint.
import { describe, expect, test } from 'vitest'
import { type Diagnostic, fail } from '../../../src/diagnostics.ts'
import { type Monitor, readEvents } from '../../../src/kernel/host/monitor.ts'
import { formatEndpoint } from '../../../src/model/endpoint.ts'
import type { WatchState } from '../../../src/report/watch.ts'
import { openBook } from '../../../src/watch/book.ts'
import { exposeMetrics } from '../../../src/watch/endpoint.ts'
import { listenToKernel } from '../../../src/watch/kernel-events.ts'
import { serve } from '../../../src/watch/service.ts'
import { createClock, settle } from '../../support/clock.ts'
import { config } from '../../support/daemon.ts'

describe('lines of ip monitor', () => {
  const LINES = [
    '[LINK]2: eth0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 xdp/id:6136 qdisc noqueue state UP\\    link/ether',
    '[ROUTE]192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1 linkdown ',
    '[NEIGH]Deleted ff02::16 dev eth0 lladdr 33:33:00:00:00:16 NOARP ',
    '[ADDR]Deleted 2: eth0    inet 192.0.2.1/24 scope global eth0\\       valid_lft forever preferred_lft forever',
  ].join('\n')

  test('are mapped to the kinds of objects that changed', () => {
    const all = ['link', 'address', 'route', 'neighbour'] as const
    const read = readEvents(all)
    expect(read(`${LINES}\n`)).toEqual(new Set([...all, 'device']))
    expect(read('[ROUTE]default via 192.0.2.254 dev eth0\n')).toEqual(new Set(['route']))
    expect(read('netlink receive error No buffer space available (105)\n')).toEqual(new Set())
  })

  test('are parsed wherever chunks cut them', () => {
    for (let at = 0; at <= LINES.length; at++) {
      const read = readEvents(['link', 'neighbour'])
      const [first, second] = [read(LINES.slice(0, at)), read(`${LINES.slice(at)}\n`)]
      expect(new Set([...first, ...second])).toEqual(new Set(['link', 'device', 'neighbour']))
    }
  })

  test('mention a neighbour whose MAC address changed, that was lost, or found', () => {
    const read = readEvents(['neighbour'])
    const heard = (line: string): boolean => read(`[NEIGH]${line}\n`).has('neighbour')
    expect(heard('10.0.0.11 dev eth1 lladdr 02:00:5e:10:00:01 REACHABLE ')).toBe(true)
    for (const state of ['STALE', 'DELAY', 'PROBE', 'REACHABLE'])
      expect(heard(`10.0.0.11 dev eth1 lladdr 02:00:5e:10:00:01 ${state} `)).toBe(false)
    expect(heard('10.0.0.11 dev eth2 lladdr 02:00:5e:10:00:01 REACHABLE ')).toBe(true)
    expect(heard('2001:db8::1 dev eth1 lladdr 02:00:5e:10:00:01 router REACHABLE ')).toBe(true)
    expect(heard('10.0.0.11 dev eth1 lladdr 02:00:5e:10:00:02 STALE ')).toBe(true)
    expect(heard('10.0.0.11 dev eth1  FAILED ')).toBe(true)
    expect(heard('10.0.0.11 dev eth1  FAILED ')).toBe(false)
    expect(heard('10.0.0.11 dev eth1 lladdr 02:00:5e:10:00:02 REACHABLE ')).toBe(true)
    expect(heard('Deleted 10.0.0.11 dev eth1 lladdr 02:00:5e:10:00:02 STALE ')).toBe(true)
    expect(heard('10.0.0.11 dev eth1 lladdr 02:00:5e:10:00:02 REACHABLE ')).toBe(true)
  })

  test('distinguish a changed interface from a changed program on it', () => {
    const line = (index: number, mtu: number, program: string, why = ''): string =>
      `[LINK]${index}: eth0@if2: <BROADCAST,UP,LOWER_UP> mtu ${mtu}${program} qdisc noqueue state UP group default${why} \\    link/ether 02:00\n`
    const read = readEvents(['link'])
    const [same, other] = [new Set(['link']), new Set(['link', 'device'])]
    expect(read(line(2, 1500, ' xdp/id:1'))).toEqual(other)
    for (const program of ['', ' xdp/id:2', ' xdpgeneric/id:3', ' xdpoffload', ' xdpmulti'])
      expect(read(line(2, 1500, program))).toEqual(same)
    expect(read(line(2, 1500, ' xdp/id:1', ' event FEATURE CHANGE'))).toEqual(same)
    expect(read(line(3, 1500, ' xdp/id:1'))).toEqual(other)
    // A name that looks like a program must not count as one.
    const named = (name: string): string => line(4, 1500, '').replace('eth0', name)
    expect([read(named('xdpa')), read(named('xdpb'))]).toEqual([other, other])
    expect(read(line(2, 1400, ' xdp/id:1'))).toEqual(other)
    expect(read(`[LINK]Deleted ${line(2, 1400, '').slice(6)}`)).toEqual(other)
    expect(read(line(2, 1400, ''))).toEqual(other)
  })
})

describe('kernel events', () => {
  const listen = () => {
    const clock = createClock()
    const heard: number[] = []
    const trouble: string[] = []
    const monitors: { readonly die: (why: string) => void; stopped: boolean }[] = []
    const monitor = (): Monitor => {
      let die = (_why: string): void => undefined
      const ended = new Promise<string>((resolve) => {
        die = resolve
      })
      const one = { die, stopped: false }
      monitors.push(one)
      return {
        ended,
        stop() {
          one.stopped = true
          die('stopped')
        },
      }
    }
    const onEvents = (): void => void heard.push(clock.now())
    const events = listenToKernel(['link'], {
      scheduler: clock,
      onEvents,
      onTrouble: (what) => trouble.push(what),
      monitor,
    })
    return { clock, heard, trouble, monitors, events }
  }

  test('missed before the listener ran are made up for', async () => {
    const { clock, heard, events } = listen()
    await clock.pass(10_000)
    expect(heard).toEqual([1000])
    events.stop()
  })

  test('resume when the listener dies, after growing waits if it dies at once', async () => {
    const { clock, trouble, monitors, events } = listen()
    for (let i = 0; i < 6; i++) {
      monitors.at(-1)?.die('no buffer space')
      await clock.pass(2 ** i * 1000 - 1)
      expect(monitors).toHaveLength(i + 1)
      await clock.pass(1)
      expect(monitors).toHaveLength(i + 2)
    }
    expect(trouble[0]).toBe('kernel events stopped: no buffer space; listening again in 1 s')
    await clock.pass(120_000)
    monitors.at(-1)?.die('again')
    await clock.pass(1000)
    expect(monitors).toHaveLength(8)
    events.stop()
  })

  test('end with the stop', async () => {
    const { clock, trouble, monitors, events } = listen()
    events.stop()
    await clock.pass(100_000)
    expect([monitors.length, monitors[0]?.stopped, trouble, clock.waiting()]).toEqual([1, true, [], 0])
  })
})

describe('systemd', () => {
  const start = (watchdogMs?: number) => {
    const clock = createClock()
    const sent: string[] = []
    let busy = 0
    const service = serve({
      scheduler: clock,
      manager: { watchdogMs, notify: async (...assignments) => void sent.push(assignments.join(' ')) },
      describe: ({ ready, errors }) => `${ready ? 'in force' : 'applying'} ${errors.length}`,
      busyMs: () => busy,
    })
    const book = openBook(7, clock.now, service.update)
    const hang = (ms: number): void => {
      busy = ms
    }
    return { clock, sent, service, book, hang }
  }

  test('gets READY once, and STATUS when it changes', () => {
    const { sent, book } = start()
    book.adopted(config('a').desired)
    book.ready()
    book.reconciled('resync', 'in-sync', 5)
    book.wrong('config', [{ code: 'E005', severity: 'error', message: 'x' }])
    expect(sent).toEqual(['STATUS=applying 0', 'READY=1 STATUS=in force 0', 'STATUS=in force 1'])
  })

  test('gets WATCHDOG twice per period, but not while a reconcile hangs', async () => {
    const { clock, sent, service, hang } = start(10_000)
    await clock.pass(20_000)
    expect(sent).toEqual(['WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1'])
    hang(300_000)
    await clock.pass(20_000)
    expect(sent).toHaveLength(4)
    hang(0)
    await clock.pass(5000)
    expect(sent).toHaveLength(5)
    await service.stopping()
    expect(sent.at(-1)).toBe('STOPPING=1')
    expect(clock.waiting()).toBe(0)
  })

  test('gets RELOADING with its start time, then READY', () => {
    const { sent, service } = start()
    service.reloading()
    service.reloaded()
    expect(sent[0]).toMatch(/^RELOADING=1 MONOTONIC_USEC=\d+$/)
    expect(sent[1]).toBe('READY=1')
  })
})

test('the book keeps the time of the first error until there are none', async () => {
  const clock = createClock()
  const states: WatchState[] = []
  const book = openBook(7, clock.now, (state) => states.push(state))
  const error = { code: 'E101', severity: 'error', message: 'x' } as const
  book.wrong('reconcile', [])
  expect(states).toEqual([])
  await clock.pass(1000)
  book.wrong('config', [error])
  await clock.pass(1000)
  book.wrong('reconcile', [error])
  expect(book.state()).toMatchObject({ errors: [error, error], failingSince: '1970-01-01T00:00:01.000Z' })
  book.wrong('config', [])
  expect(book.state()).toMatchObject({ errors: [error], failingSince: '1970-01-01T00:00:01.000Z' })
  book.wrong('reconcile', [])
  expect(book.state()).toMatchObject({ errors: [], failingSince: undefined })
  await settle()
})

describe('the metrics endpoint', () => {
  const make = () => {
    const clock = createClock()
    const emitted: string[] = []
    const doings: string[] = []
    let isTaken = false
    const exposure = exposeMetrics({
      scheduler: clock,
      collect: async () => '',
      emit: (event) => emitted.push(event.event === 'trouble' ? event.what : event.event),
      start: async ({ endpoint }) => {
        const where = formatEndpoint(endpoint)
        if (isTaken) throw fail('E500', `${where} is already in use`)
        doings.push(`open ${where}`)
        const warning: Diagnostic = { code: 'W500', severity: 'warning', message: where }
        const warnings = endpoint.address === '127.0.0.1' ? [] : [warning]
        return { url: '', warnings, close: async () => void doings.push(`close ${where}`) }
      },
    })
    const take = (taken: boolean): void => {
      isTaken = taken
    }
    return { clock, emitted, doings, exposure, take }
  }
  const HERE = { address: '127.0.0.1', port: 1 }

  test('follows the config, and stays open where its address does not change', async () => {
    const { doings, emitted, exposure } = make()
    for (const endpoint of [undefined, HERE, { ...HERE }, { address: '::', port: 2 }, undefined]) {
      exposure.follow(endpoint)
      await settle()
    }
    expect(doings).toEqual(['open 127.0.0.1:1', 'close 127.0.0.1:1', 'open [::]:2', 'close [::]:2'])
    expect(emitted).toEqual(['warning'])
    await exposure.close()
    expect(doings).toHaveLength(4)
  })

  test('is retried every minute if it cannot listen', async () => {
    const { clock, doings, emitted, exposure, take } = make()
    take(true)
    exposure.follow(HERE)
    await clock.pass(60_000)
    const what = 'metrics are not served: 127.0.0.1:1 is already in use; next attempt in 60 s'
    expect(emitted).toEqual([what, what])
    take(false)
    await clock.pass(60_000)
    expect(doings).toEqual(['open 127.0.0.1:1'])
    await exposure.close()
    expect([doings.at(-1), clock.waiting()]).toEqual(['close 127.0.0.1:1', 0])
  })
})
