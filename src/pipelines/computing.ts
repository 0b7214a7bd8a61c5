// Long computations of commands. Apart from session.ts, so that commands without a kernel load no code for one.

import type { Host } from '../kernel/host/host.ts'

/** Runs a long computation, which a signal ends with the process; nothing may have to be undone. */
export const computing = <T>({ compute }: Pick<Host, 'compute'>, body: () => T): Promise<T> =>
  compute ? compute(body) : Promise.resolve().then(body)
