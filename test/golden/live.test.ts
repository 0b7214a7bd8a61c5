// Screens of the live view, one file per case and size; UPDATE_GOLDEN=1 writes the current screens.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { renderLive } from '../../src/render/live.ts'
import type { Frame } from '../../src/render/live-section.ts'
import { anomalous, attached, counted, EMPTY, limited, PROTECTED, stats } from '../support/stats.ts'

const BEFORE = stats({
  interfaces: [
    attached('eth0', { 'default-pass': 1_000_000, blocklist: 3000, 'not-ip': 12 }),
    attached('eth1', { allowlist: 70_000, ban: 100 }),
  ],
  lists: [counted('spamhaus', 3000), counted('office', 70_000, 'allowlist'), counted('scanners', 0)],
})
const AFTER = stats({
  interfaces: [
    attached('eth0', { 'default-pass': 1_024_600, blocklist: 703_000, 'not-ip': 12 }),
    attached('eth1', { allowlist: 71_000, ban: 350 }),
  ],
  lists: [counted('spamhaus', 703_000), counted('office', 71_000, 'allowlist'), counted('scanners', 0)],
})
const MANY = Array.from({ length: 1024 }, (_, i) => counted(`feed-${`${i}`.padStart(4, '0')}`, i * 10))

/** Counters of every mitigation, and the same a look later. */
const mitigated = (later: 0 | 1): Partial<Frame['stats']> => ({
  rate_limits: [limited('dns', 4000 + 24_000 * later), { ...limited('new-connections', 20), action: 'observe' }],
  anomalies: [
    anomalous('land', 7),
    { ...anomalous('tcp_null', 40 + 1000 * later), action: 'observe', dropped_packets: 0, dropped_bytes: 0 },
  ],
  syn_protection: {
    ...PROTECTED,
    syns: 1000 + 24_600 * later,
    answered: 900 + 24_000 * later,
    completed: 60 * later,
    invalid: 9,
  },
  lists: [
    { ...counted('spamhaus', 3000 + 700 * later), observed: undefined },
    { ...counted('trial', 0), observed: { packets: 50 + 5000 * later, bytes: 5000 + 500_000 * later } },
  ],
})

const FRAME: Frame = {
  instance: 'default',
  stats: AFTER,
  previous: BEFORE,
  seconds: 2,
  interval: '2s',
  error: undefined,
  columns: 80,
  rows: 24,
  color: false,
}

const CASES: Readonly<Record<string, Frame>> = {
  'two-looks': FRAME,
  'first-look': { ...FRAME, previous: undefined, seconds: 0 },
  'nothing-applied': { ...FRAME, stats: EMPTY, previous: EMPTY },
  'many-lists': {
    ...FRAME,
    stats: { ...AFTER, lists: MANY.map((list, i) => ({ ...list, packets: list.packets + (i % 7 === 0 ? 500 : 0) })) },
    previous: { ...BEFORE, lists: MANY },
  },
  trouble: {
    ...FRAME,
    stats: {
      ...AFTER,
      detached: ['eth2'],
      drifted: [{ key: 'interface:eth2', what: 'detached since the last apply' }],
    },
    error: 'E101 bpftool prog run failed with exit status 255: no such file',
  },
  mitigations: {
    ...FRAME,
    columns: 90,
    rows: 40,
    stats: { ...AFTER, ...mitigated(1), observed_bans: { packets: 300, bytes: 30_000 } },
    previous: { ...BEFORE, ...mitigated(0), observed_bans: { packets: 100, bytes: 10_000 } },
  },
  'small-screen': { ...FRAME, columns: 40, rows: 12 },
  'large-screen': { ...FRAME, columns: 132, rows: 50 },
}

test.each(Object.entries(CASES))('%s', (name, frame) => {
  const shown = `${renderLive(frame).join('\n')}\n`
  const golden = join(import.meta.dirname, 'live', `${name}.txt`)
  if (process.env['UPDATE_GOLDEN']) writeFileSync(golden, shown)
  expect(existsSync(golden) ? readFileSync(golden, 'utf8') : '').toBe(shown)
})

test('docs/metrics.md shows one of these screens', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8')
  const [, shown = ''] = /^## The live view\n\n```\n(.*?)^…\n```$/ms.exec(docs) ?? []
  expect(shown.length).toBeGreaterThan(100)
  expect(readFileSync(join(import.meta.dirname, 'live/two-looks.txt'), 'utf8')).toContain(shown)
})
