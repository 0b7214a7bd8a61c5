// The reasons of verdicts, from the list in bpf/include/reasons.h.
import { readFileSync } from 'node:fs'
import { at } from './paths.mjs'

/** Pairs of a reason and its verdict, as users see them, in the order of the list: `['default-pass', 'pass']`. */
export function readReasons() {
  const text = readFileSync(at('bpf/include/reasons.h'), 'utf8')
  const rows = [...text.matchAll(/^\tX\((\w+), (\w+)\)/gm)]
  return rows.map(([, name, verdict]) => [name.toLowerCase().replaceAll('_', '-'), verdict.toLowerCase()])
}
