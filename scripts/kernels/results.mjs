// The record of the matrix: for each kernel whether the tests of each feature passed, and the instructions that its
// verifier processed. No times, so that two runs of a commit give the same record.
import { at } from '../lib/paths.mjs'
import { KERNELS } from './matrix.mjs'

export const RESULTS = at('test/kernels/results.json')

/** The record of a kernel, from the results of its guests. */
export function summaryOf(kernel, guests) {
  const features = {}
  const instructions = {}
  for (const guest of guests) {
    for (const { feature, problem } of guest.results) {
      features[feature] = (features[feature] ?? true) && problem === undefined
    }
    Object.assign(instructions, guest.instructions)
  }
  return { ...kernel, features, instructions }
}

/** The text of the record with new ones in it, in the order of the matrix. */
export function recorded(before, records) {
  const byName = new Map([...(before?.kernels ?? []), ...records].map((record) => [record.name, record]))
  const kernels = KERNELS.flatMap(({ name }) => byName.get(name) ?? [])
  return `${JSON.stringify({ kernels }, undefined, 2)}\n`
}
