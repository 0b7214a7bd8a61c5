// Describes a key of the config in Markdown, for the reference in docs/config.md and for xdp.yaml(5).
import { code } from '../lib/markdown.mjs'
import { flow } from './yaml.mjs'

/** A default that is no value: the last sentence of a description. */
const DEFAULT = / ?Default: (.*)\.$/

/** Marks the words to choose from as code. */
function marked(text, words) {
  const all = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
  return text.replace(new RegExp(`(?<![\\w"-])(?:${all})(?![\\w"-])`, 'g'), code)
}

/** The values that a key takes. The text's own example is dropped: examples have a column. */
function value({ spec, error, words, each }) {
  if ('const' in spec) return code(spec.const)
  return marked(error.expected.replace(/, for example `[^`]*`/, ''), [
    'true',
    'false',
    ...words,
    ...(each?.words ?? []),
  ])
}

function standard({ spec }, isRequired) {
  if (isRequired) return 'required'
  if (spec.default !== undefined) return code(flow(spec.default))
  return DEFAULT.exec(spec.description)?.[1] ?? ''
}

/** Value, default, example and description of a key, each as Markdown; empty where there is none. */
export function describe(place, isRequired) {
  const [example] = place.spec.examples
  return {
    value: value(place),
    standard: standard(place, isRequired),
    example: example === undefined ? '' : code(flow(example)),
    description: place.spec.description.replace(DEFAULT, ''),
  }
}
