// Results as text and JSON. Validates every JSON document against its schema, closed to fields that it does not
// describe.

import { describe, expect, test } from 'vitest'
import { fail } from '../../../src/diagnostics.ts'
import { formatCount, plural } from '../../../src/model/numbers.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { backendKey } from '../../../src/model/service.ts'
import { plan, planDestroy } from '../../../src/plan/plan.ts'
import { renderApply, renderApplyJson } from '../../../src/render/apply.ts'
import { renderConfirm, renderConfirmJson } from '../../../src/render/confirmation.ts'
import { renderErrorJson } from '../../../src/render/diagnostic.ts'
import { renderDoctor, renderDoctorJson } from '../../../src/render/doctor.ts'
import { formatBytes } from '../../../src/render/numbers.ts'
import { type PlanView, renderPlan } from '../../../src/render/plan.ts'
import { renderPlanJson } from '../../../src/render/plan-json.ts'
import { renderStatus, renderStatusJson } from '../../../src/render/status.ts'
import { renderValidate, renderValidateJson } from '../../../src/render/validate.ts'
import { renderWhy, renderWhyJson } from '../../../src/render/why.ts'
import type { Reverted } from '../../../src/report/confirmation.ts'
import type { ApplyResult, Check, CountingLimit, Status, WhyResult } from '../../../src/report/result.ts'
import { ranges } from '../../support/lists.ts'
import { listOfSources } from '../../support/rate-sources.ts'
import { check } from '../../support/schemas.ts'
import { service } from '../../support/services.ts'
import {
  ANY,
  DNS,
  desired,
  FAILED_APPLY,
  foreign,
  link,
  list,
  live,
  NO_STATUS,
  PROGRAM,
  rateLimit,
  scoped,
  state,
} from '../../support/states.ts'
import { BALANCED, PENDING } from '../../support/stats.ts'

const PLAIN = { color: false }

const WANTED = state({
  policy: 'drop',
  interfaces: { eth0: ['native', 'generic'] },
  lists: [
    list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24', '2001:db8::/32'), scoped(DNS, '192.0.2.1')),
    list('allowlist', 'office', scoped(ANY, '10.0.0.1-10.0.0.14')),
  ],
})
const VIEW: PlanView = {
  config: { path: 'xdp.yaml', sha256: '0'.repeat(64) },
  provenance: undefined,
  detail: 'normal',
  color: false,
  commands: undefined,
  total: 5,
}

const STATUS: Status = {
  unknown: { blocklist: { packets: 3, bytes: 180 } },
  interfaces: [
    {
      name: 'eth0',
      ifindex: 2,
      mode: 'native',
      program_id: 123,
      since: '2026-01-02T03:04:05.678Z',
      packets: { pass: 1_204_000, drop: 3444, tx: 0, redirect: 0, aborted: 0 },
      bytes: { pass: 1_300_000_000, drop: 12_288, tx: 0, redirect: 0, aborted: 0 },
      reasons: {
        'default-pass': { packets: 1_204_000, bytes: 1_300_000_000 },
        blocklist: { packets: 3444, bytes: 12_288 },
      },
    },
  ],
  services: [],
  anomalies: [],
  rate_limits: [],
  lists: [{ name: 'spamhaus', kind: 'blocklist', prefixes: 1177, packets: 3444, bytes: 12_288 }],
  policy: DEFAULT_POLICY,
  program: { digest: PROGRAM.digest, tag: 'a04f5eef06a7f555', abi: 1 },
  generation: 3,
  committed_at: '2026-01-02T03:04:05.000Z',
  bans: { live: 12, capacity: 131_072 },
  memory: 1_258_291,
  drift: true,
  drifted: [{ key: 'interface:eth1', what: 'detached' }],
  leftovers: ['/sys/fs/bpf/xdp-as-code/default/gen-2'],
  pending: undefined,
  reverted: undefined,
  rollback: undefined,
  watcher: undefined,
  last_apply: { ...FAILED_APPLY, error: undefined },
}

describe('numbers', () => {
  test.each([
    [0, '0'],
    [999, '999'],
    [1204, '1,204'],
    [1_000_000, '1,000,000'],
  ])('%i is %s', (value, text) => expect(formatCount(value)).toBe(text))

  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [32 * 2 ** 20, '32 MiB'],
    [2 ** 30 - 1, '1 GiB'],
  ])('%i bytes are %s', (value, text) => expect(formatBytes(value)).toBe(text))

  test('plural', () => {
    expect([plural(1, 'prefix', 'prefixes'), plural(2, 'prefix', 'prefixes')]).toEqual(['1 prefix', '2 prefixes'])
  })
})

describe('plan', () => {
  const links = [link('eth0', { programs: [foreign()] })]
  const made = plan(desired(WANTED), live({ links }), PROGRAM)

  test.each(['normal', 'full', 'summary'] as const)('%s JSON matches its schema', (detail) => {
    const document = check('plan', renderPlanJson(made, { ...VIEW, detail, commands: ['bpftool prog show'] }))
    expect(document).toMatchObject({
      summary: { create: 5, update: 0, prefixes_added: 9, prefixes_removed: 0 },
      partial: false,
      commands: ['bpftool prog show'],
    })
  })

  test('of destroy matches the schema of plan', () => {
    const current = { ...WANTED, program: PROGRAM }
    const document = check(
      'plan',
      renderPlanJson(planDestroy(live({ state: current })), { ...VIEW, config: undefined }),
    )
    expect(document).toMatchObject({ config: null, summary: { delete: 5 } })
  })

  test('colour changes no text', () => {
    const coloured = renderPlan(made, { ...VIEW, color: true })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: matches escape sequences
    expect(coloured.replaceAll(/\u001b\[\d+m/g, '')).toBe(renderPlan(made, VIEW))
    expect(coloured).not.toBe(renderPlan(made, VIEW))
  })

  test('--full lists every prefix, normal detail five', () => {
    const hosts = Array.from({ length: 20 }, (_, at) => `192.0.2.${at * 2}`)
    const many = plan(desired(state({ lists: [list('blocklist', 'x', scoped(ANY, ...hosts))] })), live(), PROGRAM)
    const count = (detail: PlanView['detail']) => renderPlan(many, { ...VIEW, detail }).match(/192\.0\.2\.\d+/g)?.length
    expect([count('full'), count('normal'), count('summary')]).toEqual([20, 5, undefined])
    expect(renderPlan(many, VIEW)).toContain('and 15 more (--full shows them)')
  })

  test('marks a partial view', () => {
    const some = { ...made, changes: made.changes.slice(0, 2) }
    expect(renderPlan(some, VIEW)).toContain('Partial view: 2 of 5 changes')
    expect(check('plan', renderPlanJson(some, VIEW))).toMatchObject({ partial: true, summary: { create: 2 } })
    expect(renderPlan({ ...made, changes: [] }, VIEW)).toContain('no changes for the selected targets')
  })

  test('shows equivalent commands only with changes', () => {
    expect(renderPlan(made, { ...VIEW, commands: ['bpftool x'] })).toContain('Equivalent commands:\n  bpftool x\n')
    const nothing = renderPlan({ ...made, changes: [], warnings: [] }, { ...VIEW, commands: [], total: 0 })
    expect(nothing).toBe('No changes. Live XDP state matches xdp.yaml.\n')
  })
})

describe('status', () => {
  test('JSON matches its schema, full and empty', () => {
    const last = { ...STATUS, last_apply: FAILED_APPLY }
    expect(check('status', renderStatusJson(last))).toMatchObject({ generation: 3, last_apply: { exit_status: 78 } })
    expect(check('status', renderStatusJson(NO_STATUS))).toMatchObject({
      policy: null,
      program: null,
      committed_at: null,
    })
  })

  test('text shows interfaces, reasons, lists and problems, in 80 columns', () => {
    const text = renderStatus(STATUS, PLAIN)
    for (const part of [
      'eth0',
      'native',
      '1,204,000',
      '3,444',
      'spamhaus',
      '1,177',
      'interface eth1: detached',
      'gen-2',
      'The last apply failed',
    ])
      expect(text).toContain(part)
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })

  test('reports an empty kernel', () => {
    expect(renderStatus(NO_STATUS, PLAIN)).toBe('Nothing is applied: this instance has nothing in the kernel.\n')
  })

  test('shows only verdicts that occur', () => {
    expect(renderStatus(STATUS, PLAIN)).not.toContain('ABORTED')
    const [eth0] = STATUS.interfaces
    if (eth0 === undefined) throw new Error('no interface')
    const aborted = { ...eth0, packets: { ...eth0.packets, aborted: 1 } }
    expect(renderStatus({ ...STATUS, interfaces: [aborted] }, PLAIN)).toContain('ABORTED')
  })
})

describe('apply', () => {
  const done: ApplyResult = {
    changed: true,
    applied: ['policy', 'interface:eth0'],
    verified: true,
    probes: { run: 14, passed: 14 },
    rolled_back: false,
  }

  test('JSON matches its schema', () => {
    expect(check('apply', renderApplyJson(done))).toMatchObject({ changed: true })
  })

  test.each([
    [
      done,
      'xdp.yaml',
      'Applied 2 changes. Verified by reading back and by 14 of 14 packets through the live program.\n',
    ],
    [{ ...done, changed: false }, 'xdp.yaml', 'No changes. Live XDP state matches xdp.yaml.\n'],
    [{ ...done, rolled_back: true }, 'xdp.yaml', 'Rolled back: the live state is as before the apply.\n'],
    [{ ...done, applied: [] }, 'xdp.yaml', 'Removed leftovers of an interrupted apply; no other changes.\n'],
    [{ ...done, probes: { run: 0, passed: 0 } }, undefined, 'Destroyed 2 objects. Verified by reading back.\n'],
    [{ ...done, changed: false }, undefined, 'Nothing to remove: this instance has nothing in the kernel.\n'],
  ])('%j for %s', (result, path, text) => {
    expect(renderApply(result, { path, color: false })).toBe(text)
  })
})

describe('confirmations', () => {
  const reverted: Reverted = {
    ...{ id: '0123abcd', generation: 3, previous: 0, reason: 'deadline', at: '2026-01-02T05:05:05.678Z' },
    config: { path: '/etc/xdp/xdp.yaml', sha256: 'ab'.repeat(32) },
  }
  const unreadable = { ...PENDING, deadline: undefined, seconds_left: undefined, config: undefined, guarded: false }

  test('are in status, on narrow lines, as text and JSON', () => {
    const text = renderStatus({ ...STATUS, pending: PENDING, reverted }, PLAIN)
    expect(text).toContain('! Unconfirmed: generation 2 returns in 60 s, at 2026-01-02T05:05:05Z\n')
    expect(text).toContain('!   Confirmation 0123abcd: xdp confirm, or xdp confirm --cancel\n')
    expect(text).toContain('was not confirmed in time:\nits programs were detached at 2026-01-02T05:05:05Z.\n')
    expect(text).not.toContain('guardian')
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    const broken = renderStatus({ ...STATUS, pending: unreadable }, PLAIN)
    expect(broken).toContain('returns at an unknown time\n')
    expect(broken).toContain('No guardian runs')
    const late = renderStatus({ ...STATUS, pending: { ...PENDING, seconds_left: 0 } }, PLAIN)
    expect(late).toContain('returns at 2026-01-02T05:05:05Z, which has passed\n')
    for (const pending of [PENDING, unreadable]) {
      expect(check('status', renderStatusJson({ ...STATUS, pending, reverted }))).toMatchObject({
        pending_confirmation: { id: '0123abcd', guarded: pending.guarded },
        reverted: { reason: 'deadline', previous: 0 },
      })
    }
  })

  test('end an apply', () => {
    const result: ApplyResult = {
      ...{ changed: true, applied: ['policy'], verified: true, probes: { run: 0, passed: 0 }, rolled_back: false },
      pending: PENDING,
    }
    expect(renderApply(result, { path: 'xdp.yaml', color: false })).toBe(
      'Applied 1 change. Verified by reading back.\n' +
        'Waits for confirmation 0123abcd until 2026-01-02T05:05:05Z, 60 s from now; then generation 2 returns.\n' +
        'Keep the new policy: xdp confirm\n',
    )
    expect(check('apply', renderApplyJson(result))).toMatchObject({ pending_confirmation: { seconds_left: 60 } })
    const on = { addresses: ['192.0.2.2'], ports: [22, 2200] }
    const waiting = { ...result, pending: { ...PENDING, on } }
    expect(renderApply(waiting, { path: 'xdp.yaml', color: false })).toMatch(
      /xdp confirm, or a new SSH connection from 192\.0\.2\.2 to port 22 or 2200\n$/,
    )
    expect(check('apply', renderApplyJson(waiting))).toMatchObject({ pending_confirmation: { confirm_on: on } })
  })

  test.each([
    ['confirmed', 'Confirmed. Generation 3 stays in force.\n'],
    ['cancelled', 'Reverted. Generation 2 is in force again.\n'],
    ['extended', 'Extended. Confirmation 0123abcd may arrive until 2026-01-02T05:05:05Z, 60 s from now.\n'],
  ] as const)('are %s', (action, text) => {
    const result = { confirmation: { id: '0123abcd', generation: 3, previous: 2 }, action }
    const pending = action === 'extended' ? PENDING : undefined
    expect(renderConfirm({ ...result, pending }, false)).toBe(text)
    expect(check('confirm', renderConfirmJson({ ...result, pending }))).toMatchObject({ action, generation: 3 })
  })
})

describe('why', () => {
  const NOWHERE_ELSE = {
    backup: false,
    interfaces: [],
    lists: [],
    anomalies: [],
    rate_limits: [],
    unlessEstablished: false,
    observed: [],
    needsSocket: false,
    rateLimits: [],
    otherwise: [],
    elsewhere: [],
  } as const
  const live_ = {
    verdict: 'drop',
    reason: 'blocklist',
    list: 'spamhaus',
    prefix: '203.0.113.0/24',
    at: undefined,
    service: undefined,
    backend: undefined,
    ...NOWHERE_ELSE,
  } as const
  const result: WhyResult = {
    address: '203.0.113.9',
    advice: [],
    live: { ...live_, proven: true, ban: undefined },
    desired: { ...live_, at: 'lists/drop.txt:7' },
  }

  test('JSON matches its schema, with both sides and with none', () => {
    expect(check('why', renderWhyJson(result))).toMatchObject({ live: { proven: true, at: null } })
    check('why', renderWhyJson({ address: '192.0.2.1', advice: [], live: undefined, desired: undefined }))
  })

  test('text names verdict, list, prefix, line and proof', () => {
    const text = renderWhy(result, 'xdp.yaml', false)
    for (const part of ['203.0.113.9', 'drop', 'blocklist spamhaus: 203.0.113.0/24', '# lists/drop.txt:7', 'proven'])
      expect(text).toContain(part)
    expect(text).not.toContain('disagree')
  })

  test('reports that the live policy and the file disagree', () => {
    const passes = {
      verdict: 'pass',
      reason: 'default-pass',
      list: undefined,
      prefix: undefined,
      at: undefined,
      service: undefined,
      backend: undefined,
      ...NOWHERE_ELSE,
    } as const
    expect(renderWhy({ ...result, desired: passes }, 'xdp.yaml', false)).toContain('disagree')
  })

  test('names the service and backend of a flow', () => {
    const balanced = {
      ...({ verdict: 'redirect', reason: 'balanced-away', list: undefined, prefix: undefined } as const),
      ...{ service: 'web', backend: '10.0.0.11', at: 'xdp.yaml:12', ...NOWHERE_ELSE },
    }
    const both = {
      address: '203.0.113.9',
      advice: ['10.0.0.12 is a backend'],
      live: { ...balanced, proven: true, ban: undefined },
      desired: balanced,
    }
    const text = renderWhy(both, 'xdp.yaml', false)
    expect(text).toContain('redirect  balanced-away: service web, backend 10.0.0.11')
    expect(text).toContain('# xdp.yaml:12')
    expect(text).toContain('! 10.0.0.12 is a backend.\n')
    expect(check('why', renderWhyJson(both))).toMatchObject({ live: { service: 'web', backend: '10.0.0.11' } })
    const moved = { ...both, desired: { ...balanced, backend: '10.0.0.12' } }
    expect(renderWhy(moved, 'xdp.yaml', false)).toContain('disagree')
  })

  const covering = (name: string, matches: boolean, scope = 'any') =>
    ({
      list: name,
      kind: 'blocklist',
      scope,
      prefix: '203.0.113.0/24',
      at: `xdp.yaml:${name.length}`,
      matches,
    }) as const

  test('names every list that covers the address, and whether it applies', () => {
    const lists = [covering('spamhaus', true), covering('ssh', false, 'tcp dport 22')]
    const both: WhyResult = {
      ...result,
      live: { ...live_, lists, proven: true, ban: undefined },
      desired: { ...live_, lists },
    }
    expect(renderWhy(both, 'xdp.yaml', false).split('\n').slice(-4)).toEqual([
      'LIST      KIND       ENTRY           PACKETS       APPLIES',
      'spamhaus  blocklist  203.0.113.0/24  any           yes      # xdp.yaml:8',
      'ssh       blocklist  203.0.113.0/24  tcp dport 22  no       # xdp.yaml:3',
      '',
    ])
    expect(check('why', renderWhyJson(both))).toMatchObject({
      desired: {
        lists: [
          { name: 'spamhaus', matches: true },
          { name: 'ssh', scope: 'tcp dport 22', matches: false },
        ],
      },
    })
  })

  const counting = (name: string, own: Partial<CountingLimit> = {}): CountingLimit => ({
    ...{ name, action: 'drop', at: 'xdp.yaml:4', counts: 'every', packets: 'udp' },
    ...{ used: undefined, exceeds: undefined },
    ...own,
  })
  const passing = { ...live_, verdict: 'pass', reason: 'default-pass', list: undefined, prefix: undefined } as const
  const limited = (...rateLimits: readonly CountingLimit[]): WhyResult => ({
    ...result,
    live: { ...passing, proven: true, ban: undefined, rateLimits },
    desired: { ...passing, rateLimits: rateLimits.map((limit) => ({ ...limit, used: undefined, exceeds: undefined })) },
  })

  test('names the packets that a limit counts, where these are not all of the question', () => {
    const text = renderWhy(
      limited(counting('all', { used: 0.12, exceeds: false }), counting('u', { counts: 'some' }), {
        ...counting('neg', { counts: 'others', packets: 'icmp', at: undefined }),
        source: { prefix: '192.0.2.0/25', at: undefined, about: undefined },
      }),
      'xdp.yaml',
      false,
    )
    expect(text.split('\n').slice(3)).toEqual([
      'Rate limit all counts such packets; 12 % of its burst is used, and what exceeds it is dropped. # xdp.yaml:4',
      'Rate limit u counts some such packets (udp). # xdp.yaml:4',
      'Rate limit neg counts other such packets (icmp).',
      '  192.0.2.0/25 is one of its sources.',
      '',
    ])
    expect(text).toContain('(proven by a packet)')
    const many = Array.from({ length: 14 }, (_, at) => counting(`limit-${at}`, { counts: 'others' }))
    expect(renderWhy(limited(...many), 'xdp.yaml', false)).toContain(
      '... and 4 more rate limits that count other packets',
    )
  })

  test('says that a packet now exceeds a limit, which no test packet does', () => {
    const up = counting('u', { used: 1, exceeds: true })
    const text = renderWhy(limited(up), 'xdp.yaml', false)
    expect(text).toContain('pass     default-pass  (proven by a packet, apart from rates)\n')
    expect(text).toContain(
      'counts such packets; its burst is used up, so a packet that comes now is dropped. # xdp.yaml:4',
    )
    expect(check('why', renderWhyJson(limited(up)))).toMatchObject({
      live: { rate_limits: [{ counts: 'every', packets: 'udp', used: 1, exceeds: true }] },
      desired: { rate_limits: [{ used: null, exceeds: null }] },
    })
    const observing = renderWhy(limited({ ...up, action: 'observe' }), 'xdp.yaml', false)
    expect(observing).toContain('used up, so a packet that comes now is only counted.')
    expect(observing).toContain('(proven by a packet)')
  })

  test('says on which interfaces the verdict differs', () => {
    const blocked = { ...live_, interfaces: ['eth0'], lists: [covering('spamhaus', true, 'any on eth0')] }
    const passed = {
      ...({ ...live_, verdict: 'pass', reason: 'default-pass', list: undefined, prefix: undefined } as const),
      ...{ interfaces: ['eth1', 'eth2'], lists: [covering('spamhaus', false, 'any on eth0')] },
    }
    const proof = { proven: true, ban: undefined }
    const both: WhyResult = {
      ...result,
      live: { ...blocked, ...proof, elsewhere: [{ ...passed, ...proof }] },
      desired: { ...blocked, elsewhere: [passed] },
    }
    const text = renderWhy(both, 'xdp.yaml', false)
    expect(text).toContain('live on eth0            drop     blocklist spamhaus: 203.0.113.0/24')
    expect(text).toContain('live on eth1, eth2      pass     default-pass')
    expect(text).toContain('any on eth0  on eth0')
    expect(text).not.toContain('disagree')
    expect(check('why', renderWhyJson(both))).toMatchObject({
      live: { interfaces: ['eth0'], elsewhere: [{ interfaces: ['eth1', 'eth2'], verdict: 'pass', proven: true }] },
    })
    const everywhere = { ...result, desired: { ...blocked, interfaces: [], elsewhere: [] } }
    expect(renderWhy({ ...both, desired: everywhere.desired }, 'xdp.yaml', false)).toContain('disagree')
  })

  test('reports which side is missing', () => {
    const text = renderWhy({ address: '192.0.2.1', advice: [], live: undefined, desired: undefined }, undefined, false)
    expect(text).toContain('this instance has nothing in the kernel')
    expect(text).toContain('no config file was found')
  })
})

describe('doctor', () => {
  const checks: Check[] = [
    { id: 'kernel.version', level: 'ok', message: 'Linux 6.18', fix: undefined },
    { id: 'bpffs', level: 'fail', message: 'not mounted', fix: 'mount -t bpf bpf /sys/fs/bpf' },
  ]

  test('JSON matches its schema', () => {
    expect(check('doctor', renderDoctorJson(checks))).toMatchObject({ summary: { ok: 1, warn: 0, fail: 1 } })
  })

  test('text has a line per check, with its fix under it', () => {
    expect(renderDoctor(checks, false)).toBe(
      'ok    kernel.version  Linux 6.18\n' +
        'fail  bpffs           not mounted\n' +
        '      fix: mount -t bpf bpf /sys/fs/bpf\n' +
        '\n1 ok, 0 warn, 1 fail\n',
    )
  })
})

describe('services', () => {
  const { service: WEB } = BALANCED
  const DNS6 = service('dns', '2001:db8::53 any', { protocol: 'udp', forwarding: 'gue', backends: ['2001:db8:1::1'] })
  const wanted = state({ policy: 'pass', interfaces: { eth0: ['native'] }, services: [WEB, DNS6] })

  test('in a plan match the schema, created, changed and removed', () => {
    const program = { ...wanted, program: PROGRAM }
    const fewer = { ...WEB, backends: WEB.backends.slice(1), hash: 'source' as const }
    const before = live({
      state: {
        ...program,
        services: new Map([
          ['web', fewer],
          ['old', { ...DNS6, name: 'old' }],
        ]),
      },
    })
    const nextHops = new Map(WEB.backends.map((one) => [backendKey({ ...one, port: undefined }), one.nextHop]))
    const made = plan(desired(wanted), { ...before, nextHops }, PROGRAM)
    const { changes } = check('plan', renderPlanJson(made, VIEW)) as {
      changes: { key: string; op: string; balance: { moved: number | null; backends: object[] } }[]
    }
    expect(changes.map(({ key, op }) => `${op} ${key}`)).toEqual([
      'create service:dns',
      'update service:web',
      'delete service:old',
    ])
    expect(changes[1]?.balance.moved).toBeGreaterThan(0)
    expect(changes[1]?.balance.backends).toContainEqual({ backend: '10.0.0.11', op: 'add', at: null })
    check('plan', renderPlanJson(planDestroy({ ...before, nextHops }), { ...VIEW, config: undefined }))
  })

  test('in status match the schema', () => {
    const document = check('status', renderStatusJson({ ...STATUS, services: [BALANCED] }))
    expect(document).toMatchObject({
      services: [
        {
          name: 'web',
          vip: '192.0.2.10',
          port: 443,
          protocol: 'tcp',
          mode: 'well',
          flows: 12,
          backends: [{ port: null }, { port: 8443 }, { next_hop: null }, { drained_in: 90 }, {}, {}, {}],
        },
      ],
    })
  })

  test('in status show the state of each backend, and problems', () => {
    const text = renderStatus({ ...STATUS, services: [BALANCED] }, PLAIN)
    for (const part of [
      'web      tcp 192.0.2.10:443  nat         well       12    1,200  1.2 MiB',
      'up ',
      'starting, 25 %',
      'down ',
      'drain, 90s left',
      'disabled ',
      'sorry ',
      'leaving, 1h left',
      '10.0.0.12:8443',
      '[2001:db8::9]:80',
      '02:00:5e:10:00:01 on eth1',
      'unknown',
      'service web: 3 packets found no backend',
    ])
      expect(text).toContain(part)
    expect(text).not.toContain('exhausted')
  })

  test('are counted by validate', () => {
    expect(renderValidate(desired(wanted))).toContain('2 services with 4 backends')
    expect(check('validate', renderValidateJson(desired(wanted), []))).toMatchObject({
      services: [
        { name: 'web', port: 443, backends: 3 },
        { name: 'dns', port: 'any' },
      ],
    })
  })
})

test('validate JSON matches its schema', () => {
  const warnings = [{ code: 'W205', severity: 'warning', message: 'x' } as const]
  expect(check('validate', renderValidateJson(desired(WANTED), warnings))).toMatchObject({
    valid: true,
    lists: [{}, {}],
  })
})

test('rate limits are counted by validate, and listed with the keys of the config', () => {
  const sources = { v4: ranges(4, ['192.0.2.0/24']), v6: ranges(6, []) }
  const wanted = state({ rateLimits: [rateLimit('dns', { position: 1, per: 'all' }), rateLimit('web')] })
  expect(renderValidate(desired(wanted))).toContain(' 2 rate limits, ')
  const listed = { ...wanted, lists: new Map([['rate_limit:dns', listOfSources('dns', sources)]]) }
  expect(renderValidate(desired(listed))).toContain(' 0 lists with 0 prefixes, 2 rate limits with 1 prefix, ')
  expect(check('validate', renderValidateJson(desired(wanted), []))).toMatchObject({
    rate_limits: [
      {
        name: 'dns',
        position: 1,
        scope: 'any',
        per: 'all',
        prefix: null,
        packets_per_second: 1000,
        bits_per_second: null,
      },
      { name: 'web', prefix: { v4: 32, v6: 64 }, burst: 1000, action: 'drop', buckets: 65_536 },
    ],
  })
})

test('validate JSON has the counts of every list file', () => {
  const at = { file: 'xdp.yaml', line: 3, column: 1, length: 4 }
  const counts = { entries: 3, skipped: 1, private: 2, wide: 0, updatedAt: 1_767_225_600 }
  const file = { path: 'drop.jsonl', format: 'jsonl', notes: ['(c) example'], ...counts }
  const feed = { list: 'drop', at, files: [file], maxAge: undefined, maxShrink: 0.5, maxGrowth: 100, inline: [] }
  const document = check('validate', renderValidateJson({ ...desired(WANTED), feeds: [feed] }, []))
  expect(document).toMatchObject({
    feeds: [{ list: 'drop', path: 'drop.jsonl', left_out: { private: 2, wide: 0 }, notes: ['(c) example'] }],
  })
})

test('error JSON matches its schema', () => {
  const error = fail('E300', 'no', 'yes')
  expect(check('error', renderErrorJson(error.diagnostics))).toMatchObject({ error: { code: 'E300', hint: 'yes' } })
})
