// Kernels that are too old for a policy.

import type { Diagnostic } from '../diagnostics.ts'
import { lacking, lackingWords } from '../kernel/observe/needs.ts'
import type { State } from '../model/state.ts'
import { atLeast, FLOOR, parseVersion } from '../model/version.ts'

/**
 * Warns that apply will be refused by a kernel of this version. Only the attempt decides, because distributions backport
 * parts of newer kernels.
 *
 * @param isProven whether this kernel has loaded the programs before
 */
export function warnKernel(state: State, kernel: string, isProven: boolean): Diagnostic[] {
  const version = parseVersion(kernel)
  if (!version || isProven || atLeast(version, FLOOR)) return []
  const lacks = lacking(version, state)
  if (lacks.length === 0) return []
  const message = `Linux ${kernel} is older than ${FLOOR.join('.')}, so apply will be refused unless its distribution has added what it lacks ${lackingWords(lacks)}`
  return [{ code: 'W282', severity: 'warning', message, hint: `boot Linux ${FLOOR.join('.')} or newer` }]
}
