// Renders the checks of `xdp doctor` as text and as JSON (schemas/doctor.schema.json).

import type { Check, CheckLevel } from '../report/result.ts'
import { jsonDocument } from './json.ts'
import { type Paint, paint } from './paint.ts'

const LEVELS = ['ok', 'warn', 'fail'] as const satisfies readonly CheckLevel[]

function mark(level: CheckLevel, { green, yellow, red }: Paint): string {
  const style = { ok: green, warn: yellow, fail: red }[level]
  return style(level.padEnd(4))
}

const countLevels = (checks: readonly Check[]): Record<CheckLevel, number> => {
  const count = (level: CheckLevel): number => checks.filter((check) => check.level === level).length
  return { ok: count('ok'), warn: count('warn'), fail: count('fail') }
}

/** One line per check, with its fix under it. */
export function renderDoctor(checks: readonly Check[], color: boolean): string {
  const style = paint(color)
  const width = Math.max(0, ...checks.map(({ id }) => id.length))
  const lines = checks.flatMap(({ id, level, message, fix }) => {
    const line = `${mark(level, style)}  ${id.padEnd(width)}  ${message}`
    return fix === undefined ? [line] : [line, `      ${style.dim('fix:')} ${fix}`]
  })
  const counts = countLevels(checks)
  return `${[...lines, '', LEVELS.map((level) => `${counts[level]} ${level}`).join(', ')].join('\n')}\n`
}

export function renderDoctorJson(checks: readonly Check[]): string {
  return jsonDocument({
    checks: checks.map(({ id, level, message, fix }) => ({ id, level, message, fix: fix ?? null })),
    summary: countLevels(checks),
  })
}
