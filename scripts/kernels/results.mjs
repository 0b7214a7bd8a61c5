// The record of the matrix: for each kernel whether the tests of each feature passed, and the instructions that its
// verifier processed. No times, so that two runs of a commit give the same record.
import { at } from '../lib/paths.mjs'
import { KERNELS } from './matrix.mjs'

export const RESULTS = at('test/kernels/results.json')

/** Names for the policies of a sample, whose instructions are counted. */
const COUNTED = ['lists', 'everything']

/** The record of a kernel, from the results of its guests; `sample`: the numbers of the policies of a sample. */
export function summaryOf(kernel, guests, sample) {
  const features = {}
  const instructions = {}
  for (const guest of guests) {
    for (const { feature, problem } of guest.results) {
      features[feature] = (features[feature] ?? true) && problem === undefined
    }
    for (const [i, number] of sample.entries()) {
      if (guest.instructions[number]) instructions[COUNTED[i]] = guest.instructions[number]
    }
  }
  return { ...kernel, features, instructions }
}

/** The text of the record with new ones in it, in the order of the matrix. */
export function recorded(before, records) {
  const byName = new Map((before?.kernels ?? []).map((record) => [record.name, record]))
  // A kernel that cannot be had today has been tested all the same.
  for (const record of records) if (!record.absent || !byName.has(record.name)) byName.set(record.name, record)
  const kernels = KERNELS.flatMap(({ name }) => byName.get(name) ?? [])
  return `${JSON.stringify({ kernels }, undefined, 2)}\n`
}
