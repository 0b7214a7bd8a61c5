// Events of the daemon, as one line of JSON each, validated against the schema, and as text.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import type { Drift } from '../../../src/model/live.ts'
import { renderStatus, renderStatusJson } from '../../../src/render/status.ts'
import { describeWatch, renderEvent, renderEventJson } from '../../../src/render/watch.ts'
import type { Status } from '../../../src/report/result.ts'
import type { WatchEvent, WatchEventName, WatchState } from '../../../src/report/watch.ts'
import { check, readSchema } from '../../support/schemas.ts'
import { NO_STATUS } from '../../support/states.ts'

const SHA = 'a1b2c3d4e5f6'.padEnd(64, '0')
const WRONG: Diagnostic = {
  code: 'E020',
  severity: 'error',
  message: '"bad" is not an address',
  hint: 'write the addresses',
  at: { file: 'xdp.yaml', line: 5, column: 5, length: 3, text: '  - bad' },
}
const DRIFT = [{ key: 'interface:eth0', what: 'detached since the last apply' }] as const
const TAKEN: readonly Drift[] = [
  {
    ...{ key: 'interface:eth0', what: 'another program was attached' },
    by: [
      {
        ...{ id: 12, name: 'other', tag: 'a1b2', mode: 'native', loadedAt: 1_767_326_645, uid: 0 },
        holders: [{ pid: 4321, command: 'loader' }],
      },
    ],
  },
]
const APPLIED: WatchEvent = {
  event: 'applied',
  trigger: 'edit',
  changes: [{ op: 'update', key: 'list:blocklist' }],
  prefixes: { added: 3, removed: 1 },
  sha256: SHA,
  durationMs: 123,
  probes: { run: 4, passed: 4 },
}

/** One event of each name, with its message. */
const EVENTS: Readonly<Record<WatchEventName, readonly [WatchEvent, string]>> = {
  started: [
    { event: 'started', pid: 7, instance: 'default', config: 'xdp.yaml' },
    'watching xdp.yaml, instance default, pid 7',
  ],
  ready: [{ event: 'ready' }, 'the policy is in force'],
  applied: [APPLIED, 'applied 1 change, +3 -1 prefixes after an edit in 123 ms (sha256 a1b2c3d4e5f6)'],
  'in-sync': [
    { event: 'in-sync', trigger: 'start', sha256: SHA, durationMs: 9 },
    'no changes at the start (sha256 a1b2c3d4e5f6)',
  ],
  'bad-config': [
    { event: 'bad-config', errors: [WRONG, WRONG], omitted: 3 },
    'invalid config, the policy in force stays: xdp.yaml:5:5: E020 bad-address: "bad" is not an address (and 4 more)',
  ],
  'config-fixed': [{ event: 'config-fixed' }, 'the config is valid again'],
  refused: [
    {
      event: 'refused',
      errors: [{ code: 'E200', severity: 'error', message: 'eth0 is taken' }],
      omitted: 0,
      retryMs: 60_000,
    },
    'refused, nothing was changed; next attempt in 60 s: E200 foreign-program: eth0 is taken',
  ],
  failed: [
    { event: 'failed', errors: [{ code: 'E101', severity: 'error', message: 'bpftool' }], omitted: 0, retryMs: 500 },
    'failed; next attempt in 500 ms: E101 command-failed: bpftool',
  ],
  recovered: [{ event: 'recovered' }, 'recovered: the reconcile succeeded'],
  drift: [
    { event: 'drift', drift: DRIFT, action: 'hold', retryMs: 4000.4 },
    'drift again after a repair, next repair in 4 s: interface eth0: detached since the last apply',
  ],
  'drift-gone': [{ event: 'drift-gone' }, 'the drift is gone'],
  overruled: [
    { event: 'overruled', why: 'rolled-back', apply: 3, config: '/etc/xdp/xdp.yaml' },
    'the policy of apply 3 holds until /etc/xdp/xdp.yaml changes, after a rollback',
  ],
  'backend-down': [
    { event: 'backend-down', service: 'web', backend: '10.0.0.11:80', reason: 'connection refused' },
    'service web: 10.0.0.11:80 is down: connection refused',
  ],
  'backend-up': [{ event: 'backend-up', service: 'web', backend: '10.0.0.11' }, 'service web: 10.0.0.11 is up'],
  'service-health': [
    { event: 'service-health', service: 'web', mode: 'drop', isFallback: true, healthy: 0, needed: 1 },
    'service web: new flows are dropped (fallback: drop); 0 healthy, 1 needed',
  ],
  fetched: [
    {
      event: 'fetched',
      source: 'https://lists.example.org/drop.txt',
      lists: ['drop', 'more'],
      outcome: 'updated',
      prefixes: 1204,
    },
    'https://lists.example.org/drop.txt is updated: 1,204 prefixes for 2 lists (drop, more)',
  ],
  banned: [
    {
      event: 'banned',
      limit: 'dns',
      prefixes: ['203.0.113.9', '2001:db8::/64'],
      count: 3,
      forMs: 600_000,
      observe: false,
    },
    'rate limit dns: banned 203.0.113.9, 2001:db8::/64 and 1 other for 10 min',
  ],
  warning: [
    { event: 'warning', warnings: [{ code: 'W202', severity: 'warning', message: 'eth0 is down' }] },
    'W202 interface-down: eth0 is down',
  ],
  reload: [{ event: 'reload' }, 'reloading the config'],
  trouble: [{ event: 'trouble', what: 'no events' }, 'no events'],
  stopping: [{ event: 'stopping', reason: 'SIGTERM' }, 'stopping: SIGTERM'],
  stopped: [{ event: 'stopped', attached: false }, 'stopped; the programs are detached'],
}
const TIME = new Date('2026-01-02T03:04:05.678Z')

test.each(Object.entries(EVENTS))('%s is one line of JSON that matches its schema', (name, [event, message]) => {
  const line = renderEventJson(event, { time: TIME, repeated: 2 })
  expect(line.indexOf('\n')).toBe(line.length - 1)
  expect(check('watch', line)).toMatchObject({ event: name, message, time: TIME.toISOString(), repeated: 2 })
})

test('docs/watch.md and the schema list every event', () => {
  const root = join(import.meta.dirname, '../../..')
  const docs = readFileSync(join(root, 'docs/watch.md'), 'utf8')
  expect(readSchema('watch').properties?.['event']?.enum).toEqual(Object.keys(EVENTS))
  for (const name of Object.keys(EVENTS)) expect(docs).toMatch(new RegExp(`^\\|.*\`${name}\``, 'm'))
})

test('on a terminal an error has its config line under it', () => {
  const [event] = EVENTS['bad-config']
  const text = renderEvent(event, { time: TIME, repeated: 0, color: false })
  expect(text).toMatch(/^\d\d:\d\d:05 invalid config, the policy in force stays:\nxdp.yaml:5:5: error/)
  expect(text).toContain(' 5 |   - bad\n   |     ^^^\nhint: write the addresses')
})

test('on a terminal a warning follows the time', () => {
  const [event] = EVENTS.warning
  const text = renderEvent(event, { time: TIME, repeated: 0, color: false })
  expect(text).toMatch(/^\d\d:\d\d:05 warning\[W202 interface-down\]: eth0 is down\n$/)
})

test('on a terminal a repeated event has its count', () => {
  const text = renderEvent({ event: 'trouble', what: 'no events' }, { time: TIME, repeated: 1204, color: false })
  expect(text).toMatch(/ no events \(and 1,204 times before\)\n$/)
})

const STATE: WatchState = {
  pid: 7,
  since: TIME.toISOString(),
  config: { path: 'xdp.yaml', sha256: SHA, loadedAt: TIME.toISOString() },
  ready: true,
  last: undefined,
  reconciles: { applied: 1, 'in-sync': 0, held: 0, refused: 0, failed: 0 },
  errors: [],
  failingSince: undefined,
  drift: [],
  health: undefined,
}

test.each<[Partial<WatchState>, string]>([
  [{}, 'xdp.yaml (sha256 a1b2c3d4e5f6) is in force'],
  [{ ready: false }, 'applying xdp.yaml (sha256 a1b2c3d4e5f6)'],
  [{ drift: DRIFT }, 'drift: interface eth0: detached since the last apply'],
  [
    { drift: TAKEN },
    'drift: interface eth0: another program was attached, by program 12 other (native, tag a1b2), loaded 2026-01-02T04:04:05Z by uid 0, held by pid 4321 (loader)',
  ],
  [
    { errors: [WRONG] },
    'xdp.yaml:5:5: E020 bad-address: "bad" is not an address; xdp.yaml (sha256 a1b2c3d4e5f6) stays in force',
  ],
  [
    { errors: [WRONG], ready: false },
    'xdp.yaml:5:5: E020 bad-address: "bad" is not an address; nothing is applied yet',
  ],
])('%j is described in one line', (facts, text) => expect(describeWatch({ ...STATE, ...facts })).toBe(text))

test('status shows the daemon, with its problems under it', () => {
  const status = (watcher: WatchState | undefined): Status => ({ ...NO_STATUS, watcher })
  const failing = { ...STATE, errors: [WRONG], failingSince: TIME.toISOString() }
  const lines = (watcher: WatchState) => renderStatus(status(watcher), { color: false }).split('\n').slice(1, -1)
  expect(lines(STATE)).toEqual([
    'Watched by pid 7 since 2026-01-02T03:04:05Z: xdp.yaml (sha256 a1b2c3d4e5f6) is in force',
  ])
  expect(lines(failing)).toEqual([
    'Watched by pid 7 since 2026-01-02T03:04:05Z',
    expect.stringMatching(/^! {3}xdp.yaml:5:5: E020 bad-address/),
  ])
  const last = { at: TIME.toISOString(), trigger: 'edit', outcome: 'failed', durationMs: 5 } as const
  for (const watcher of [undefined, STATE, { ...failing, last, drift: TAKEN }, { ...STATE, config: undefined }]) {
    const { watch } = check('status', renderStatusJson(status(watcher))) as { watch: unknown }
    expect(watch).toEqual(watcher === undefined ? null : expect.objectContaining({ pid: 7 }))
  }
})

test('in the journal every line has its priority in place of the time', () => {
  const line = (event: WatchEvent) =>
    renderEvent(event, { time: new Date(0), repeated: 0, color: false, journal: true })
  expect(line({ event: 'ready' })).toBe('<6>the policy is in force\n')
  expect(line({ event: 'trouble', what: 'no space' })).toBe('<4>no space\n')
  const wrong = line({ event: 'bad-config', errors: [WRONG], omitted: 0 })
  expect(wrong).toMatch(/^<3>invalid config, the policy in force stays:\n<3>xdp\.yaml:5:5/)
  expect(wrong.split('\n').filter((one) => one !== '' && !one.startsWith('<3>'))).toEqual([])
})
