import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import { diagnosticsJson, renderDiagnostics, renderErrorJson } from '../../../src/render/diagnostic.ts'

const at = { file: 'xdp.yaml', line: 7, column: 5, length: 3, text: 'key: val' }
const error: Diagnostic = { code: 'E013', severity: 'error', message: 'wrong', hint: 'write it', at }
const warning: Diagnostic = { code: 'W001', severity: 'warning', message: 'odd' }

test('prints the source line, carets and hint under an error', () => {
  expect(renderDiagnostics([error, warning], { color: false })).toBe(
    [
      'xdp.yaml:7:5: error[E013 bad-value]: wrong',
      ' 7 | key: val',
      '   |     ^^^',
      'hint: write it',
      '',
      'warning[W001 everything-passes]: odd',
      '',
    ].join('\n'),
  )
})

test('counts omitted errors', () => {
  expect(renderDiagnostics([warning], { color: false, omitted: 1 })).toContain('\n… and 1 more error\n')
  expect(renderDiagnostics([warning], { color: false, omitted: 1200 })).toContain('\n… and 1,200 more errors\n')
})

test('colour changes no text', () => {
  const colored = renderDiagnostics([error], { color: true })
  expect(colored).toContain('\u001b[31m^^^\u001b[39m')
  expect(stripVTControlCharacters(colored)).toBe(renderDiagnostics([error], { color: false }))
})

test('carets mark the place in long lines, behind tabs and behind surrogate pairs', () => {
  const show = (text: string, column: number, length: number): string[] =>
    renderDiagnostics([{ ...error, at: { ...at, text, column, length } }], { color: false })
      .split('\n')
      .slice(1, 3)
  expect(show('\t🦀 x', 5, 1)).toEqual([' 7 |  🦀 x', '   |    ^'])
  const [line, carets] = show(`${'a'.repeat(500)}bad${'c'.repeat(500)}`, 501, 3)
  expect(line?.slice(carets?.indexOf('^'), (carets?.lastIndexOf('^') ?? 0) + 1)).toBe('bad')
  expect(line?.length).toBeLessThan(130)
  expect(show('short', 400, 9)[1]).toMatch(/\^$/)
})

test('replaces control characters', () => {
  const text = renderDiagnostics(
    [{ ...error, message: 'a\u001b[2Jb\u202e', at: { ...at, file: 'x\u0007', text: 'k\u009b31m: v' } }],
    { color: false },
  )
  expect(text).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
})

test('JSON has every field, missing ones as null', () => {
  expect(diagnosticsJson([warning])).toEqual([
    { code: 'W001', name: 'everything-passes', severity: 'warning', message: 'odd', hint: null, at: null },
  ])
  expect(JSON.parse(renderErrorJson([warning, error], 3))).toMatchObject({
    format_version: '1.0',
    error: { code: 'E013', at: { line: 7, column: 5, length: 3 } },
    errors: [{ code: 'W001' }, { code: 'E013' }],
    omitted: 3,
  })
})
