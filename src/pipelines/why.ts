// The pipeline of why: the verdict that a packet gets live and in the file.

import { explain, type Query } from '../kernel/report/why.ts'
import type { Desired } from '../model/desired.ts'
import type { WhyResult } from '../report/result.ts'
import { type Host, openSession, reading } from './session.ts'

export type { Query }

/** Without a file (`desired` undefined) only the live verdict. Throws E103 or E114 for an interface without our program. */
export async function why(host: Host, desired: Desired | undefined, query: Query): Promise<WhyResult> {
  const { paths } = await openSession(host)
  return reading(() => explain(paths, host, desired, query))
}
