// Checks a backend with a command: good if it exits with status 0.

import { type ExecEnd, startExec } from '../../../kernel/host/exec.ts'
import type { ExecCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import type { Subject } from '../loop.ts'
import { bad, GOOD, type Result, unknown } from '../standing.ts'
import { plain } from './settle.ts'

/** The last line that is not empty: commands usually print the reason there. */
function lastLine(output: string): string {
  const lines = output.split('\n').map(plain)
  return lines.findLast((line) => line !== '') ?? ''
}

function judge(end: ExecEnd): Result {
  if (end.kind === 'unable') return unknown(plain(end.reason))
  if (end.kind === 'exit' && end.status === 0) return GOOD
  const what = end.kind === 'exit' ? `exit status ${end.status}` : `killed by ${end.signal}`
  const why = lastLine(end.stderr) || lastLine(end.stdout)
  return bad(plain(why === '' ? what : `${what}: ${why}`))
}

export function probeExec(
  { command, user, address, port, timeoutMs }: ExecCheck,
  { service, backend }: Subject,
  done: (result: Result) => void,
): () => void {
  const env = {
    XDP_SERVICE: service,
    XDP_BACKEND: backend,
    XDP_ADDRESS: formatAddress(address.family, address.words),
    XDP_PORT: port === undefined ? '' : `${port}`,
    XDP_TIMEOUT_MS: `${timeoutMs}`,
  }
  return startExec({ command, user, env }, (end) => done(judge(end)))
}
