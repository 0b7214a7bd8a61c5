// The table of metrics, its rendering, and the documents that name metrics.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { withMetrics } from '../../../scripts/lib/metrics.mjs'
import { ROWS } from '../../../src/features/rows.ts'
import { exposition, labelValue } from '../../../src/metrics/exposition.ts'
import { METRICS } from '../../../src/metrics/table.ts'
import type { Report } from '../../../src/report/metric.ts'
import { REASONS } from '../../../src/report/reason.ts'
import {
  anomalous,
  attached,
  BALANCED,
  counted,
  EMPTY,
  limited,
  PENDING,
  PROTECTED,
  SURROUNDINGS,
  stats,
} from '../../support/stats.ts'

const ROOT = join(import.meta.dirname, '../../..')
const FULL: Report = {
  version: '1.2.3',
  stats: stats({
    detached: ['eth1'],
    anomalies: [anomalous('bogons', 12)],
    rate_limits: [limited('dns', 120)],
    observed_bans: { packets: 7, bytes: 700 },
    syn_protection: PROTECTED,
    services: [BALANCED],
    pending: PENDING,
  }),
  surroundings: SURROUNDINGS,
}
const linesOf = (report: Report, name: string): string[] =>
  exposition(report)
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))

describe('the table', () => {
  test.each(METRICS.map((metric) => [metric.name, metric] as const))('%s keeps the naming rules', (name, metric) => {
    expect(name).toMatch(/^xdp(_[a-z]+)+$/)
    expect(name.endsWith('_total')).toBe(metric.type === 'counter')
    expect(metric.help).toMatch(/^[^\\\n]+[^.\\]\.$/)
    for (const label of metric.labels) expect(label).toMatch(/^[a-z][a-z0-9]*$/)
  })

  test('has no duplicate names', () => {
    expect(new Set(METRICS.map(({ name }) => name)).size).toBe(METRICS.length)
  })

  test.each(METRICS.map((metric) => [metric.name, metric] as const))(
    '%s has samples of a full report, each with all labels and a number, and no two with the same',
    (_, { labels, samples }) => {
      const found = samples(FULL)
      expect(found.length).toBeGreaterThan(0)
      for (const [values, value] of found) {
        expect(values).toHaveLength(labels.length)
        expect(Number.isFinite(value)).toBe(true)
      }
      expect(new Set(found.map(([values]) => values.join('\0'))).size).toBe(found.length)
    },
  )

  test('leaves out samples of unknown facts, and counters without a policy', () => {
    const text = exposition({ version: '1.2.3', stats: EMPTY, surroundings: {} })
    const names = text.match(/^xdp_\w+/gm)
    expect(names).toEqual([
      'xdp_build_info',
      'xdp_generation',
      'xdp_memory_bytes',
      'xdp_memory_bytes',
      'xdp_memory_bytes',
      'xdp_drifted_objects',
      'xdp_confirmation_pending',
      'xdp_stats_duration_seconds',
    ])
  })

  test('has every reason of every interface, zero for those that have not occurred', () => {
    const interfaces = [attached('eth0', { blocklist: 7 }), attached('eth1')]
    const lines = linesOf({ ...FULL, stats: stats({ interfaces }) }, 'xdp_packets_total')
    expect(lines).toHaveLength(2 * REASONS.length)
    expect(lines).toContain('xdp_packets_total{interface="eth0",verdict="drop",reason="blocklist"} 7')
    expect(lines).toContain('xdp_packets_total{interface="eth1",verdict="pass",reason="allowlist"} 0')
  })

  test('shows backends that are down or without a next hop', () => {
    const of = (name: string, backend: string): string[] =>
      linesOf(FULL, name).filter((line) => line.includes(`service="web",backend="${backend}"`))
    expect(of('xdp_backend_up', '10.0.0.13')).toEqual(['xdp_backend_up{service="web",backend="10.0.0.13"} 0'])
    expect(of('xdp_backend_resolved', '10.0.0.13')).toEqual([
      'xdp_backend_resolved{service="web",backend="10.0.0.13"} 0',
    ])
    expect(of('xdp_backend_share', '10.0.0.12:8443')).toEqual([
      'xdp_backend_share{service="web",backend="10.0.0.12:8443"} 0.25',
    ])
    expect(linesOf(FULL, 'xdp_service_backends')).toEqual(['xdp_service_backends{service="web"} 3'])
    expect(linesOf(FULL, 'xdp_service_healthy_backends')).toEqual(['xdp_service_healthy_backends{service="web"} 2'])
    expect(linesOf(FULL, 'xdp_service_info')).toEqual(['xdp_service_info{service="web",mode="well"} 1'])
  })

  test('shows an interface that lost its program', () => {
    expect(linesOf(FULL, 'xdp_interface_attached')).toEqual([
      'xdp_interface_attached{interface="eth0"} 1',
      'xdp_interface_attached{interface="eth1"} 0',
    ])
  })

  test('prefers the drift seen by the daemon to that seen at interfaces', () => {
    expect(linesOf(FULL, 'xdp_drifted_objects')).toEqual(['xdp_drifted_objects 1'])
    expect(linesOf({ ...FULL, surroundings: {} }, 'xdp_drifted_objects')).toEqual(['xdp_drifted_objects 0'])
  })

  test.each([
    ['applied', 1],
    ['in-sync', 1],
    ['held', 1],
    ['refused', 0],
    ['failed', 0],
  ] as const)('a reconcile that ended %s is success %i', (outcome, success) => {
    const reconciles = { applied: 0, 'in-sync': 0, held: 0, refused: 0, failed: 0, [outcome]: 1 }
    const last = { at: '2026-01-02T05:00:00.250Z', outcome, durationMs: 1500 }
    const report = { ...FULL, surroundings: { reconcile: { reconciles, last } } }
    expect(linesOf(report, 'xdp_reconcile_success')).toEqual([`xdp_reconcile_success ${success}`])
    expect(linesOf(report, 'xdp_reconciles_total')).toContain(`xdp_reconciles_total{outcome="${outcome}"} 1`)
    expect(linesOf(report, 'xdp_reconcile_duration_seconds')).toEqual(['xdp_reconcile_duration_seconds 1.5'])
    expect(linesOf(report, 'xdp_reconcile_timestamp_seconds')).toEqual([
      'xdp_reconcile_timestamp_seconds 1767330000.25',
    ])
  })

  test('shows an invalid config without a digest', () => {
    const config = { path: 'xdp.yaml', sha256: undefined, modifiedAt: undefined, valid: false }
    const text = exposition({ ...FULL, surroundings: { config } })
    expect(text).toContain('\nxdp_config_valid 0\n')
    expect(text).not.toContain('xdp_config_info')
    expect(text).not.toContain('xdp_config_modified_timestamp_seconds')
  })
})

describe('the exposition', () => {
  test('has help and type before the samples of each metric, and ends with a newline', () => {
    const text = exposition(FULL)
    expect(text.endsWith('\n')).toBe(true)
    for (const { name, type } of METRICS) {
      expect(text).toMatch(new RegExp(`^# HELP ${name} .+\\n# TYPE ${name} ${type}\\n${name}[ {]`, 'm'))
    }
  })

  /** Unescapes a quoted label value as Prometheus does. */
  const unquoted = (text: string): string =>
    text.replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter))

  test('carries any label value, cut to 128 characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (name) => {
        const [line = ''] = exposition({ ...FULL, stats: stats({ lists: [counted(name, 5)] }) })
          .split('\n')
          .filter((one) => one.startsWith('xdp_list_packets_total{'))
        const [, value = ''] =
          /^xdp_list_packets_total\{list="((?:[^"\\]|\\.)*)",kind="blocklist"\} 5$/s.exec(line) ?? []
        expect(unquoted(value)).toBe([...name].slice(0, 128).join(''))
      }),
      { numRuns: 60 },
    )
  })

  test('never contains half a surrogate pair', () => {
    expect(labelValue('a\ud800b')).toBe('a\ufffdb')
    expect([...labelValue('\u{1f600}'.repeat(200))]).toHaveLength(128)
  })
})

describe('documents', () => {
  const known = new Set<string>(METRICS.map(({ name }) => name))
  const files = [
    'docs/metrics.md',
    ...readdirSync(join(ROOT, 'examples/prometheus')).map((name) => `examples/prometheus/${name}`),
  ]

  test.each(files)('%s names none that does not exist', (file) => {
    const named = readFileSync(join(ROOT, file), 'utf8').match(/\bxdp_[a-z_]+\b/g) ?? []
    expect([...new Set(named)].filter((name) => !known.has(name))).toEqual([])
  })

  test('docs/metrics.md has the tables of the records', () => {
    const text = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')
    expect(withMetrics(text, { metrics: METRICS, rows: ROWS })).toBe(text)
  })

  test('both tables replace whatever stands between their comments', () => {
    const [metric] = METRICS
    const page = (metrics: string, tables: string): string =>
      `# Page\n\n<!-- metrics -->${metrics}<!-- end of metrics -->\n\n<!-- tables -->${tables}<!-- end of tables -->\n`
    expect(withMetrics(page('\nold\n', ''), { metrics: [metric], rows: { bans: 'a | b' } })).toBe(
      page(
        '\n\n| Metric | Type | Labels | Means |\n|---|---|---|---|\n' +
          '| `xdp_build_info` | gauge | `version` | Version of xdp; always 1. |\n\n',
        '\n\n| Table | Holds |\n|---|---|\n| `bans` | a \\| b |\n\n',
      ),
    )
    expect(() => withMetrics('# Page\n', { metrics: [metric], rows: {} })).toThrow('has no comments')
  })
})

describe('the dashboard', () => {
  interface Panel {
    readonly id: number
    readonly title: string
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
    readonly targets: readonly { readonly refId: string; readonly expr: string }[]
  }
  const { panels, templating } = JSON.parse(readFileSync(join(ROOT, 'examples/prometheus/dashboard.json'), 'utf8')) as {
    panels: Panel[]
    templating: { list: { name: string }[] }
  }

  test('has panels with unique ids and titles that do not overlap', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
    const taken = new Set<string>()
    for (const { title, gridPos, targets } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x},${y}`), title).toBe(false)
          taken.add(`${x},${y}`)
        }
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length)
    }
  })

  test('has a panel for every counter, except for bytes whose packets it shows', () => {
    const shown = new Set(
      panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/xdp_[a-z_]+/g) ?? [])),
    )
    const counters = METRICS.filter(({ type }) => type === 'counter').map(({ name }) => name)
    const hidden = counters.filter((name) => !shown.has(name) && !shown.has(name.replace('bytes', 'packets')))
    expect(hidden).toEqual([])
  })

  test('uses only labels of its metrics and variables that it defines', () => {
    const variables = new Set(templating.list.map(({ name }) => name))
    for (const { expr } of panels.flatMap(({ targets }) => targets)) {
      for (const [, name, selector = ''] of expr.matchAll(/(xdp_[a-z_]+)\{([^}]*)\}/g)) {
        const labels = [...selector.matchAll(/(\w+)(?:=~|!=|=)/g)].map(([, label]) => label)
        const own = METRICS.find((metric) => metric.name === name)?.labels ?? []
        expect(labels.filter((label) => label !== 'instance' && !own.includes(label ?? ''))).toEqual([])
      }
      for (const [, variable = ''] of expr.matchAll(/\$(\w+)/g))
        if (!variable.startsWith('__')) expect(variables).toContain(variable)
    }
  })
})
