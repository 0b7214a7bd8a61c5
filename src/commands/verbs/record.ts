// Writes a record of every apply, for users and monitors that did not see its output.

import { resolve } from 'node:path'
import { findConfig } from '../../config/load.ts'
import { CODES, type Diagnostic, EXIT, type Exit } from '../../diagnostics.ts'
import { keepLastApply } from '../../pipelines/host.ts'
import { renderLastApplyJson } from '../../render/last-apply.ts'
import type { LastApply } from '../../report/last-apply.ts'
import type { ApplyResult } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import { explain } from '../cli/explain.ts'

/** Facts that an apply collects for its record. */
export interface Findings {
  /** Of the config, if a saved plan or the history names it; absolute. */
  path?: string
  sha256?: string
  result?: ApplyResult
}

type Ending = Pick<LastApply, 'result' | 'exit_status' | 'error'>

/** The absolute path of the config; undefined without one, and before a saved plan has named it. */
function configPath({ flags }: Context, { path }: Findings, isPlanned: boolean): string | undefined {
  if (isPlanned) return path
  try {
    return resolve(findConfig(flags.file))
  } catch {
    return undefined
  }
}

/** Makes the path absolute, because readers of the record run in other directories. */
const placed = (error: Diagnostic): Diagnostic =>
  error.at === undefined ? error : { ...error, at: { ...error.at, file: resolve(error.at.file) } }

function endingOf(thrown: unknown, signal: AbortSignal | undefined): Ending {
  const { exit, diagnostics } = explain(thrown, signal)
  const error = diagnostics.find(({ severity }) => severity === 'error')
  return {
    result: exit === EXIT.refused ? 'refused' : 'failed',
    exit_status: exit,
    error: error && placed(error),
  }
}

const isDeclined = ({ error }: Ending): boolean => error !== undefined && CODES[error.code].name === 'declined'

/**
 * Runs an apply and writes its record; passes exceptions on. With --auto-approve (`auto`) a record with result
 * `running` comes first, so that a killed apply shows as well. A declined apply writes no record.
 *
 * @param isPlanned whether a saved plan names the config
 */
export async function recorded(
  context: Context,
  auto: boolean,
  isPlanned: boolean,
  body: (findings: Findings) => Promise<Exit>,
): Promise<Exit> {
  const { host } = context
  const findings: Findings = {}
  const started_at = new Date().toISOString()
  const keep = (ending: Ending, finished_at?: string): Promise<void> =>
    keepLastApply(host, (self) => {
      const config = { path: configPath(context, findings, isPlanned), sha256: findings.sha256 }
      const changes = findings.result?.applied ?? []
      const { instance } = host
      const bpffs = resolve(host.bpffs)
      return renderLastApplyJson({ ...ending, ...self, instance, bpffs, started_at, finished_at, config, changes })
    })
  if (auto) await keep({ result: 'running', exit_status: undefined, error: undefined })
  try {
    const exit = await body(findings)
    const result = exit !== EXIT.ok ? 'failed' : findings.result?.changed ? 'applied' : 'unchanged'
    await keep({ result, exit_status: exit, error: undefined }, new Date().toISOString())
    return exit
  } catch (thrown) {
    const ending = endingOf(thrown, host.signal)
    if (!isDeclined(ending)) await keep(ending, new Date().toISOString())
    throw thrown
  }
}
