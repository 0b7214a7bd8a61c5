// Number of rounds of random tests, and of similar cases. `npm test` is limited to minutes; `THOROUGH=1 npm test` takes
// the time that it needs.

import { type TestContext, test } from 'vitest'

const isThorough = process.env['THOROUGH'] === '1'

export const usually = <T>(some: T, { thoroughly }: { readonly thoroughly: T }): T => (isThorough ? thoroughly : some)

/** A test whose case is similar to others, run only by THOROUGH=1. */
export const inDepth = test.runIf(isThorough)

/**
 * A slow test among many: three of ten runs have it, and all with THOROUGH=1. It must need no other test.
 *
 * @param timeout in milliseconds, if the usual one is too short
 */
export function inTurns(name: string, body: (context: TestContext) => unknown, timeout?: number): void {
  test.runIf(isThorough || Math.random() < 0.3)(name, body, timeout)
}

/** Every nth of similar cases, from one that differs from run to run; all of them with THOROUGH=1. */
export function sample<T>(cases: readonly T[], nth: number): T[] {
  const first = Math.floor(Math.random() * nth)
  return isThorough ? [...cases] : cases.filter((_, i) => i % nth === first)
}
