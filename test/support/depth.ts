// Number of rounds of random tests, and of similar cases. `npm test` is limited to minutes; `THOROUGH=1 npm test` takes
// the time that it needs. All that a run draws follows from one number, which `npm test` prints.

import { createHash, randomInt } from 'node:crypto'
import { expect, type TestContext, test } from 'vitest'

const isThorough = process.env['THOROUGH'] === '1'

/** Seed of random tests, below 2^31; `SEED=n` repeats a run. */
export const SEED = Number(process.env['SEED'] ?? randomInt(1, 2 ** 31))

export const usually = <T>(some: T, { thoroughly }: { readonly thoroughly: T }): T => (isThorough ? thoroughly : some)

/** A test whose case is similar to others, run only by THOROUGH=1. */
export const inDepth = test.runIf(isThorough)

const drawn = new Map<string, number>()

/** A whole number below `limit`, equal for equal seeds, files and numbers of calls before. */
function draw(limit: number): number {
  const file = expect.getState().testPath ?? ''
  const call = (drawn.get(file) ?? 0) + 1
  drawn.set(file, call)
  // The path from `test` on: a clone elsewhere draws alike.
  const name = file.slice(file.lastIndexOf('/test/'))
  return createHash('sha256').update(`${SEED} ${name} ${call}`).digest().readUInt32LE() % limit
}

/**
 * A slow test among many: three of ten runs have it, and all with THOROUGH=1. It must need no other test.
 *
 * @param timeout in milliseconds, if the usual one is too short
 */
export function inTurns(name: string, body: (context: TestContext) => unknown, timeout?: number): void {
  const isMine = draw(10) < 3
  test.runIf(isThorough || isMine)(name, body, timeout)
}

/** Every nth of similar cases, from one that differs from run to run; all of them with THOROUGH=1. */
export function sample<T>(cases: readonly T[], nth: number): T[] {
  const first = draw(nth)
  return isThorough ? [...cases] : cases.filter((_, i) => i % nth === first)
}
