// `xdp stats` as text and JSON.
import { describe, expect, test } from 'vitest'
import { renderStats, renderStatsJson, totalsOf } from '../../../src/render/stats.ts'
import { check } from '../../support/schemas.ts'
import { attached, BALANCED, counted, EMPTY, limited, SURROUNDINGS, stats } from '../../support/stats.ts'

const PLAIN = { color: false }
const TWO = [attached('eth0', { 'default-pass': 100, blocklist: 40 }), attached('eth1', { blocklist: 2, ban: 1 })]

test('totals cover all interfaces, by verdict and by reasons that occurred', () => {
  expect(totalsOf(TWO)).toMatchObject({
    packets: { pass: 100, drop: 43, tx: 0 },
    bytes: { pass: 10_000, drop: 4300 },
    reasons: { 'default-pass': { packets: 100 }, blocklist: { packets: 42, bytes: 4200 }, ban: { packets: 1 } },
  })
  expect(Object.keys(totalsOf(TWO).reasons)).toHaveLength(3)
})

test('rate limits have a table of their own', () => {
  const text = renderStats(stats({ rate_limits: [limited('dns', 120)] }), {}, PLAIN)
  expect(text).toMatch(/^RATE LIMIT +PER +ACTION +PACKETS +EXCEEDING +BYTES +BANS$/m)
  expect(text).toMatch(/^dns +source +drop +1,200 +120 +.* 2$/m)
})

test('bans of rate limits have a column once there are some', () => {
  const text = renderStats(stats({ rate_limits: [{ ...limited('dns', 120), bans: 0 }] }), {}, PLAIN)
  expect(text).toMatch(/^RATE LIMIT +PER +ACTION +PACKETS +EXCEEDING +BYTES$/m)
})

describe('JSON', () => {
  test('matches its schema, full and empty', () => {
    const facts = {
      interfaces: TWO,
      rate_limits: [limited('dns', 120)],
      services: [BALANCED],
      detached: ['eth2'],
      drifted: [{ key: 'interface:eth2', what: 'detached' }] as const,
    }
    expect(check('stats', renderStatsJson(stats(facts), SURROUNDINGS))).toMatchObject({
      time: '2026-01-02T05:04:05.000Z',
      totals: { packets: { drop: 43 } },
      detached: ['eth2'],
      rate_limits: [{ name: 'dns', packets: 1200, exceeding_packets: 120 }],
      services: [
        {
          name: 'web',
          hits: 1188,
          backends: [{ health: 'up' }, { health: 'starting' }, { health: 'down' }, {}, {}, {}, {}],
        },
      ],
      tables: expect.arrayContaining([{ name: 'bans', used: 12, capacity: 131_072 }]),
      memory: { total: 1_258_291 + 65_536 + 2_100_000 },
      drift: true,
      config: { path: '/etc/xdp/xdp.yaml', valid: true },
      feeds: [
        { list: 'spamhaus', max_age: 172_800 },
        { list: 'scanners', max_age: null },
      ],
    })
    expect(check('stats', renderStatsJson(EMPTY, {}))).toMatchObject({
      committed_at: null,
      program: null,
      config: null,
    })
  })

  test('marks an invalid config', () => {
    const config = { path: 'xdp.yaml', sha256: undefined, modifiedAt: undefined, valid: false }
    expect(check('stats', renderStatsJson(EMPTY, { config }))).toMatchObject({
      config: { sha256: null, modified_at: null, valid: false },
      feeds: [],
    })
  })
})

describe('text', () => {
  test('shows verdicts, interfaces, reasons, lists, tables, memory, config, feeds and drift, in 80 columns', () => {
    const drifted = [{ key: 'interface:eth2', what: 'detached since the last apply' }] as const
    const lists = [counted('spamhaus', 42), counted('office', 7, 'allowlist')]
    const facts = { interfaces: TWO, detached: ['eth2'], drifted, lists }
    const balanced = renderStats(stats({ ...facts, services: [BALANCED] }), SURROUNDINGS, PLAIN)
    expect(balanced).toContain('service web: 3 packets found no backend')
    const text = renderStats(stats(facts), SURROUNDINGS, PLAIN)
    for (const part of [
      /^Generation 3, applied 2026-01-02T03:04:05Z$/m,
      /^Kernel memory: 3\.3 MiB \(1\.2 MiB policy, 64 KiB counters, 2 MiB bans\)$/m,
      /^pass +100 +9\.8 KiB +69\.9%$/m,
      /^drop +43 +4\.2 KiB +30\.1%$/m,
      /^eth1 +native +0 +0 B +3 +300 B$/m,
      /^eth2 +detached$/m,
      /^eth1 +ban +1 +100 B$/m,
      /^office +allowlist +1,177 +7 +700 B$/m,
      /^bans +12 +131,072 +0%$/m,
      /^Config: \/etc\/xdp\/xdp\.yaml \(sha256 abababababab\), written 2 h 4 min ago$/m,
      /^spamhaus +1,177 +2 +8 h 24 min +2 d$/m,
      /^scanners +30 +0 +3 d 19 h +any$/m,
      /^! +interface eth2: detached since the last apply$/m,
    ])
      expect(text).toMatch(part)
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })

  test('reports an empty kernel, and still shows the config', () => {
    expect(renderStats(EMPTY, {}, PLAIN)).toBe('Nothing is applied: this instance has nothing in the kernel.\n')
    const config = { path: 'xdp.yaml', sha256: undefined, modifiedAt: undefined, valid: false }
    expect(renderStats(EMPTY, { config }, PLAIN)).toContain('\nConfig: xdp.yaml is invalid\n')
  })

  test('warns that nothing is filtered if no interface is attached', () => {
    const text = renderStats(stats({ interfaces: [], detached: ['eth0'] }), {}, PLAIN)
    expect(text).toContain('Attached to no interface: nothing is filtered.')
    expect(text).toMatch(/^eth0 +detached$/m)
  })
})
