// Counts down on the terminal while an apply waits for its confirmation, and takes the answer.

import { EXIT, type Exit } from '../../diagnostics.ts'
import {
  cancelPending,
  confirmPending,
  type PendingConfirmation,
  readConfirmation,
  readEnd,
} from '../../pipelines/confirm.ts'
import { renderConfirm, revertedLines } from '../../render/confirmation.ts'
import type { Context } from '../cli/context.ts'

const SECOND = 1000

/** DECSC, up one line, to its start, EL; then DECRC. Input on the line below stays. */
const above = (text: string): string => `\u001b7\u001b[A\r\u001b[K${text}\u001b8`

const remaining = ({ seconds_left: left }: PendingConfirmation): string =>
  `The previous policy returns in ${left ?? '?'} s.`

/** The answer; undefined: a signal came first, or the wait is over. */
const answerOf = (context: Context, over: AbortSignal): Promise<string | undefined> =>
  context.prompt('Keep the new policy? yes or no: ', over).then(
    (answer) => answer.trim(),
    () => undefined,
  )

/** Shows the time left until the confirmation is over, or `over` is. */
async function follow({ host, stderr }: Context, id: string, over: AbortSignal): Promise<void> {
  for (;;) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, SECOND)
      over.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    if (over.aborted) return
    const pending = await readConfirmation(host, id)
    if (!pending) return
    stderr(above(remaining(pending)))
  }
}

/** How the wait ended without this process. */
async function ended({ host, stdout }: Context, id: string): Promise<Exit> {
  const reverted = await readEnd(host, id)
  stdout(reverted ? `\n${revertedLines(reverted).join('\n')}\n` : '\nConfirmed.\n')
  return reverted ? EXIT.failed : EXIT.ok
}

/**
 * Waits for the answer of the user, a confirmation from elsewhere, or the deadline. Any answer but yes and no, and every
 * signal, leaves the decision to `xdp confirm` and the guardian. Exits 1 if the previous policy is in force again.
 */
export async function countDown(context: Context, pending: PendingConfirmation): Promise<Exit> {
  const { host, stdout, stderr, color } = context
  const over = new AbortController()
  stderr(`${remaining(pending)}\n`)
  const following = follow(context, pending.id, over.signal).then(() => undefined)
  const asked = answerOf(context, over.signal)
  const answer = await Promise.race([asked, following])
  over.abort()
  await Promise.all([asked, following])
  if (!(await readConfirmation(host, pending.id))) return ended(context, pending.id)
  if (answer !== 'yes' && answer !== 'no') {
    stdout(`\nStill unconfirmed: xdp confirm keeps the new policy.\n`)
    return EXIT.ok
  }
  const result = await (answer === 'yes' ? confirmPending(host) : cancelPending(host))
  stdout(renderConfirm(result, color.stdout))
  return answer === 'yes' ? EXIT.ok : EXIT.failed
}
