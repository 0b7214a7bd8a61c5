// Checks through VIPs beside all others: which backends have one, which source each gets, and what is left of them when
// their process ends.
import { describe, expect, test } from 'vitest'
import type { CheckedBackend, CheckPath, CheckPathEvents, CheckSource } from '../../../src/kernel/live/check-path.ts'
import type { HealthCheck } from '../../../src/model/health.ts'
import { backendKey, type Service } from '../../../src/model/service.ts'
import type { Order } from '../../../src/watch/health/probes/remote.ts'
import { GOOD, type Result } from '../../../src/watch/health/standing.ts'
import { checkedBackends, checkThroughVips } from '../../../src/watch/vip-checks.ts'
import { check } from '../../support/backends.ts'
import { address, backend, service } from '../../support/services.ts'
import { desired, state } from '../../support/states.ts'
import { FakeTimer } from '../../support/timer.ts'

const VIP = '192.0.2.10'
const throughVip = check({ address: address(VIP), via: 'vip' })
const WEB = service('web', `${VIP} 80`, {
  forwarding: 'dsr',
  backends: ['10.0.0.11', '10.0.0.12', backend('10.0.0.13', { state: 'disabled' })],
})

function config(web: Service, checks: Readonly<Record<string, HealthCheck>>) {
  const health = { minHealthy: { kind: 'count', value: 1 } as const, fallback: 'drop' as const }
  return {
    ...desired(state({ services: [web] })),
    health: new Map([[web.name, { ...health, checks: new Map(Object.entries(checks)) }]]),
  }
}

const namesOf = (backends: readonly CheckedBackend[]): string[] =>
  backends.map(({ service: { name }, backend: one }) => `${name} ${backendKey(one)}`)

describe('the backends with such a check', () => {
  const checks = { '10.0.0.11': throughVip, '10.0.0.12': check(), '10.0.0.13': throughVip }

  test('are those whose check says so, and that are not disabled', () => {
    const services = new Map([['web', WEB]])
    expect(namesOf(checkedBackends({ services, leaving: [] }, config(WEB, checks), new Set()))).toEqual([
      'web 10.0.0.11',
    ])
  })

  test('keep it while they leave', () => {
    const services = new Map([['web', WEB]])
    const leaving = ['10.0.0.21', '10.0.0.22'].map((text) => ({ service: 'web', backend: backend(text), deadline: 9 }))
    const gone = { service: 'gone', backend: backend('10.0.0.21'), deadline: 9 }
    const before = new Set(['web/10.0.0.21', 'gone/10.0.0.21'])
    const found = checkedBackends({ services, leaving: [...leaving, gone] }, config(WEB, checks), before)
    expect(namesOf(found)).toEqual(['web 10.0.0.11', 'web 10.0.0.21'])
  })
})

/** A path whose sources and failures the test sets. */
class Lab {
  readonly timer = new FakeTimer()
  readonly sent: Order[] = []
  readonly followed: string[][] = []
  readonly troubles: string[] = []
  readonly direct: string[] = []
  source: CheckSource = { address: '10.0.0.1', port: 61_000 }
  failure: string | undefined
  isClosed = false
  events: CheckPathEvents | undefined
  readonly #path: CheckPath = {
    follow: async (backends) => {
      this.followed.push(namesOf(backends))
      if (this.failure !== undefined) throw new Error(this.failure)
    },
    sourceOf: () => this.source,
    send: (message) => void this.sent.push(message as Order),
    close: async () => {
      this.isClosed = true
    },
  }
  readonly checks = checkThroughVips(
    {
      scheduler: this.timer,
      open: (events) => {
        this.events = events
        return this.#path
      },
      onTrouble: (reason) => this.troubles.push(reason),
    },
    (_, subject, done) => {
      this.direct.push(subject.backend)
      done(GOOD)
      return () => undefined
    },
  )

  serve(): Promise<void> {
    const facts = { generation: 1, slots: {} as never, leaving: [], services: new Map([['web', WEB]]) }
    return this.checks.follow(facts, config(WEB, { '10.0.0.11': throughVip }))
  }

  start(one: HealthCheck): { readonly results: readonly Result[]; readonly abandon: () => void } {
    const results: Result[] = []
    const subject = { service: 'web', backend: '10.0.0.11' }
    return { results, abandon: this.checks.probe(one, subject, (result) => results.push(result)) }
  }
}

describe('a check', () => {
  test('goes to the process with the source of its backend, and its answer comes back once', async () => {
    const lab = new Lab()
    await lab.serve()
    const { results } = lab.start(throughVip)
    expect(lab.sent).toEqual([
      {
        kind: 'start',
        id: 1,
        check: throughVip,
        subject: { service: 'web', backend: '10.0.0.11' },
        source: { address: '10.0.0.1', port: 61_000 },
      },
    ])
    lab.events?.onMessage({ id: 2, result: GOOD })
    expect(results).toEqual([])
    for (let i = 0; i < 2; i++) lab.events?.onMessage({ id: 1, result: GOOD })
    expect(results).toEqual([GOOD])
  })

  test('that is abandoned stops there, and has no result', async () => {
    const lab = new Lab()
    await lab.serve()
    const { results, abandon } = lab.start(throughVip)
    abandon()
    lab.events?.onMessage({ id: 1, result: GOOD })
    abandon()
    expect([results, lab.sent.map(({ kind }) => kind)]).toEqual([[], ['start', 'stop']])
  })

  test('of the address of the backend is made here', () => {
    const lab = new Lab()
    expect(lab.start(check()).results).toEqual([GOOD])
    expect([lab.direct, lab.sent]).toEqual([['10.0.0.11'], []])
  })

  test('without a path says nothing about the backend; without a next hop the backend fails', () => {
    const lab = new Lab()
    lab.source = { reason: 'not ready', isFault: false }
    expect(lab.start(throughVip).results).toEqual([{ outcome: 'unknown', reason: 'not ready' }])
    lab.source = { reason: 'its next hop is unknown', isFault: true }
    expect(lab.start(throughVip).results).toEqual([{ outcome: 'bad', reason: 'its next hop is unknown' }])
  })
})

describe('the path', () => {
  test('is opened again when its process ends, and checks under way say nothing', async () => {
    const lab = new Lab()
    await lab.serve()
    const { results } = lab.start(throughVip)
    lab.events?.onEnd()
    expect(results).toEqual([expect.objectContaining({ outcome: 'unknown' })])
    lab.timer.advance(0)
    await expect.poll(() => lab.followed).toEqual([['web 10.0.0.11'], ['web 10.0.0.11']])
  })

  test('that cannot be opened is tried again every 5 s, and reported once for each reason', async () => {
    const lab = new Lab()
    lab.failure = 'Operation not permitted\nmore'
    await lab.serve()
    lab.timer.advance(4999)
    expect(lab.followed).toHaveLength(1)
    lab.timer.advance(1)
    await expect.poll(() => lab.followed).toHaveLength(2)
    expect(lab.troubles).toEqual(['Operation not permitted'])
    lab.failure = 'another'
    await expect
      .poll(async () => {
        lab.timer.advance(5000)
        return lab.troubles
      })
      .toEqual(['Operation not permitted', 'another'])
    await lab.checks.close()
    expect(lab.isClosed).toBe(true)
  })
})
