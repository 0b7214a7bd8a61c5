// Renders the record of the last apply: the stored document, and the lines of `xdp status` about a failed one.

import type { LastApply } from '../report/last-apply.ts'
import { diagnosticsJson, renderDiagnostics } from './diagnostic.ts'
import { jsonDocument } from './json.ts'
import { seconds } from './numbers.ts'
import { paint } from './paint.ts'

/** Its fields in JSON, alike in the record and in `xdp status --json`. */
export function lastApplyJson(record: LastApply): Readonly<Record<string, unknown>> {
  const { result, exit_status, started_at, finished_at, config, changes, error } = record
  return {
    result,
    exit_status: exit_status ?? null,
    started_at,
    finished_at: finished_at ?? null,
    config: { path: config.path ?? null, sha256: config.sha256 ?? null },
    changes,
    error: error === undefined ? null : diagnosticsJson([error])[0],
    instance: record.instance,
    bpffs: record.bpffs,
    pid: record.pid,
    pid_namespace: record.pid_namespace,
  }
}

export const renderLastApplyJson = (record: LastApply): string => jsonDocument(lastApplyJson(record))

function sentence({ result, exit_status, started_at, finished_at, pid }: LastApply): string | undefined {
  const at = seconds(finished_at ?? started_at)
  switch (result) {
    case 'applied':
    case 'unchanged':
      return undefined
    case 'failed':
      return `The last apply failed at ${at} with exit status ${exit_status}.`
    case 'refused':
      return `The last apply was refused at ${at} with exit status ${exit_status}.`
    case 'running':
      return `An apply has been running since ${at} (pid ${pid}).`
    case 'killed':
      return `The last apply was killed; it began at ${at}. The next apply repairs the live state.`
    default:
      return result satisfies never
  }
}

/**
 * Lines for status; none after a success. `committedAt`: when the live generation was committed (ISO 8601). A failure
 * before it is left out, because a later apply succeeded.
 */
export function lastApplyLines(record: LastApply, committedAt: string | undefined, color: boolean): string[] {
  const said = sentence(record)
  const { config, error, finished_at } = record
  const isPast = finished_at !== undefined && Date.parse(committedAt ?? '') > Date.parse(finished_at)
  if (said === undefined || isPast) return []
  const place = error?.at === undefined && config.path !== undefined ? [`config: ${config.path}`] : []
  const details = error === undefined ? [] : renderDiagnostics([error], { color }).trimEnd().split('\n')
  return ['', `${paint(color).red('!')} ${said}`, ...[...place, ...details].map((line) => `    ${line}`)]
}
