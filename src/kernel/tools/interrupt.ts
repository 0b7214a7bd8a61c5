// Which tools an interrupt ends. By default none: a tool that changes the kernel runs to its end. Within `interruptible`
// a signal ends the running tool and refuses to start others, except within `shielded`, where a change is finished or
// undone.

import { AsyncLocalStorage } from 'node:async_hooks'
import { fail } from '../../diagnostics.ts'

const interruption = new AsyncLocalStorage<AbortSignal | undefined>()

/** Runs `body`; `signal` ends the tools that it starts. */
export const interruptible = <T>(signal: AbortSignal | undefined, body: () => T): T => interruption.run(signal, body)

/** Runs `body`, whose tools no signal ends. */
export const shielded = <T>(body: () => T): T => interruption.run(undefined, body)

/** The signal that ends tools started now. Throws E112 if it has arrived. */
export function interruptionNow(): AbortSignal | undefined {
  const signal = interruption.getStore()
  if (signal?.aborted) throw interrupted()
  return signal
}

export const interrupted = (): Error => fail('E112', 'interrupted: nothing was changed')
