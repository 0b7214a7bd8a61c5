// Every apply leaves a record of how it ended, for those who did not see its output.

import { resolve } from 'node:path'
import { findConfig } from '../../config/load.ts'
import { CODES, type Diagnostic, EXIT, type Exit } from '../../diagnostics.ts'
import { keepLastApply } from '../../pipelines/host.ts'
import { renderLastApplyJson } from '../../render/last-apply.ts'
import type { LastApply } from '../../report/last-apply.ts'
import type { ApplyResult } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import { explain } from '../cli/explain.ts'

/** What an apply gets to know on its way. */
export interface Findings {
  sha256?: string
  result?: ApplyResult
}

type Ending = Pick<LastApply, 'result' | 'exit_status' | 'error'>

/** The config that is meant; undefined where there is none. */
function configPath({ flags }: Context): string | undefined {
  try {
    return resolve(findConfig(flags.file))
  } catch {
    return undefined
  }
}

/** A reader of the record is in another directory. */
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
 * Runs an apply and leaves its record. What it throws goes on. Where nobody can say no to it any more (`auto`) a record
 * that it runs comes first, so that one who is killed is known too; an apply that is declined leaves none.
 */
export async function recorded(
  context: Context,
  auto: boolean,
  body: (findings: Findings) => Promise<Exit>,
): Promise<Exit> {
  const { host } = context
  const findings: Findings = {}
  const started_at = new Date().toISOString()
  const keep = (ending: Ending, finished_at?: string): Promise<void> =>
    keepLastApply(host, (self) => {
      const config = { path: configPath(context), sha256: findings.sha256 }
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
