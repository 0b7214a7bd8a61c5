// Number of rounds of random tests, and of similar cases. `npm test` is limited to minutes; `THOROUGH=1 npm test` takes
// the time that it needs.

import { test } from 'vitest'

const isThorough = process.env['THOROUGH'] === '1'

export const usually = <T>(some: T, { thoroughly }: { readonly thoroughly: T }): T => (isThorough ? thoroughly : some)

/** A test whose case is similar to others, run only by THOROUGH=1. */
export const inDepth = test.runIf(isThorough)
