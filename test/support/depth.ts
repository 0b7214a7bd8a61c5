// How much is tried of what could be tried any number of times, and of cases that are alike. `npm test` has minutes;
// `THOROUGH=1 npm test` takes the time that it needs.

import { test } from 'vitest'

const isThorough = process.env['THOROUGH'] === '1'

export const usually = <T>(some: T, { thoroughly }: { readonly thoroughly: T }): T => (isThorough ? thoroughly : some)

/** A test of what others come close to. */
export const inDepth = test.runIf(isThorough)
