import { expect, test } from 'vitest'
import { lastApplyLines, renderLastApplyJson } from '../../../src/render/last-apply.ts'
import type { LastApply } from '../../../src/report/last-apply.ts'
import { FAILED_APPLY } from '../../support/states.ts'

const lines = (record: Partial<LastApply>, committedAt?: string) =>
  lastApplyLines({ ...FAILED_APPLY, ...record }, committedAt, false)

test('shows a failure with its place, source line and hint', () => {
  expect(lines({})).toEqual([
    '',
    '! The last apply failed at 2026-01-02T04:00:01Z with exit status 78.',
    '    /etc/xdp/xdp.yaml:4:5: error[E021 host-bits]: "10.0.0.1/24" has bits set after the first 24',
    '     4 |   - 10.0.0.1/24',
    '       |     ^^^^^^^^^^^',
    '    hint: write 10.0.0.1 for the single address, or 10.0.0.0/24 for the network of 256 addresses',
  ])
})

test('hides a failure from before the live policy was committed', () => {
  expect(lines({}, '2026-01-02T04:00:02Z')).toEqual([])
  expect(lines({}, '2026-01-02T04:00:01Z')).toHaveLength(6)
})

test.each([
  ['applied', []],
  ['unchanged', []],
  [
    'refused',
    ['', '! The last apply was refused at 2026-01-02T04:00:01Z with exit status 4.', '    config: /etc/xdp/xdp.yaml'],
  ],
] as const)('%s', (result, expected) => {
  expect(lines({ result, exit_status: 4, error: undefined })).toEqual(expected)
})

test('shows a running and a killed apply despite a later commit', () => {
  const unfinished = { finished_at: undefined, exit_status: undefined, error: undefined }
  const later = '2027-01-01T00:00:00Z'
  expect(lines({ ...unfinished, result: 'running' }, later)[1]).toBe(
    '! An apply has been running since 2026-01-02T04:00:00Z (pid 4321).',
  )
  expect(lines({ ...unfinished, result: 'killed' }, later)[1]).toContain('was killed; it began at 2026-01-02T04:00:00Z')
})

test('the record is one document, missing values null', () => {
  const { code, severity, message, hint, at } = FAILED_APPLY.error ?? {}
  expect(JSON.parse(renderLastApplyJson(FAILED_APPLY))).toEqual({
    ...FAILED_APPLY,
    format_version: '1.0',
    config: { path: '/etc/xdp/xdp.yaml', sha256: null },
    error: { code, name: 'host-bits', severity, message, hint, at },
  })
})
