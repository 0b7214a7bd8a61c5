// Reads the config's schema: each place of a config with its keywords, references resolved.
import { lookup } from './bundle.mjs'
import { flow } from './yaml.mjs'

/** `a, b or c`. */
export const listed = (words) =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`

const followed = ({ $ref, allOf = [] }, root) =>
  [{ $ref }, ...allOf].flatMap((one) => (one.$ref === undefined ? [] : [lookup(root, one.$ref.slice(1))]))

/** The words to choose from, those of alternatives included. */
export const wordsOf = (schema, root) => [
  ...(schema.enum ?? []),
  ...[...followed(schema, root), ...(schema.anyOf ?? [])].flatMap((one) => wordsOf(one, root)),
]

/**
 * Fills the texts of an `x-error`: `{examples}`, `{example}` (the first of them), `{words}`, `{word}` (the first of
 * them) and `{others}` (the words after it).
 */
function filled(error, examples, words) {
  const values = {
    '{examples}': listed(examples.map(flow)),
    '{example}': examples.length > 0 ? flow(examples[0]) : '',
    '{words}': listed(words),
    '{word}': listed(words.slice(0, 1)),
    '{others}': listed(words.slice(1)),
  }
  const fill = (text) =>
    typeof text === 'string'
      ? text.replace(/\{(?:examples?|words?|others)\}/g, (name) => {
          if (values[name] === '') throw new Error(`there are no ${name} for: ${text}`)
          return values[name]
        })
      : text
  return Object.fromEntries(Object.entries(error).map(([key, text]) => [key, fill(text)]))
}

/** The keys of which a dependency needs one; none for a dependency of another kind. */
function needs(dependency, root) {
  if (Array.isArray(dependency)) return dependency
  const { anyOf = [] } = lookup(root, dependency.$ref.slice(1))
  return anyOf.flatMap(({ required = [] }) => required)
}

/**
 * A schema merged with the schemas that `$ref` and `allOf` name; its own keywords win. Without examples or words of
 * errors it takes those of its first alternative.
 */
export function resolved(schema, root) {
  const base = Object.assign({}, ...followed(schema, root).map((one) => resolved(one, root)))
  const first = schema.anyOf === undefined ? {} : resolved(schema.anyOf[0], root)
  const { $ref: _, allOf: __, ...own } = schema
  const examples = own.examples ?? base.examples ?? first.examples ?? []
  const error = filled(own['x-error'] ?? {}, examples, wordsOf(schema, root))
  return { ...base, ...own, examples, 'x-error': { ...first['x-error'], ...base['x-error'], ...error } }
}

/** A schema, or each of its alternatives, resolved. */
export function alternatives(schema, root) {
  const spec = resolved(schema, root)
  return spec.anyOf === undefined ? [spec] : spec.anyOf.flatMap((one) => alternatives(one, root))
}

function numberText({ minimum, maximum }) {
  return `a whole number from ${minimum} ${maximum === undefined ? 'on' : `to ${maximum}`}`
}

/** The words of an error that follow from the schema itself. */
function derived(spec) {
  const isText = spec.type === 'string' && spec.pattern === undefined
  if ('const' in spec) return { expected: JSON.stringify(spec.const) }
  if (spec.enum) return { expected: listed(spec.enum) }
  if (spec.type === 'boolean') return { expected: 'true or false', code: 'E013' }
  if (spec.type === 'integer') return { expected: numberText(spec), code: 'E013' }
  if (isText && spec.maxLength !== undefined) {
    return { expected: `text of at most ${spec.maxLength} characters`, code: 'E013', kindCode: 'E015' }
  }
  return isText && spec.minLength === undefined ? { expected: 'text', kindCode: 'E015' } : {}
}

/**
 * The value at a place and the values below it: `below` by key, `each` under any name or in a list.
 *
 * @param what name of the value if the schema has none: its key
 * @param [inherited] the words of the list that it is an element of, if it has none
 */
export function place(schema, root, what, inherited) {
  const spec = resolved(schema, root)
  const parts = alternatives(schema, root)
  const said = { ...derived(spec), ...spec['x-error'] }
  const error = said.expected === undefined ? inherited : { what, ...said }
  if (error === undefined) throw new Error(`the schema has no words for errors of ${what}`)
  const mapping = parts.find((one) => one.properties !== undefined)
  const named = parts.find((one) => typeof one.additionalProperties === 'object')
  const list = parts.find((one) => one.items !== undefined)
  const keys = Object.entries(mapping?.properties ?? {})
  return {
    spec,
    error,
    words: wordsOf(schema, root),
    below: new Map(keys.map(([key, one]) => [key, place(one, root, key)])),
    /** One object, shared by all mappings with these keys. */
    mapping: mapping?.properties,
    required: [...(mapping?.required ?? []), ...(mapping?.else?.required ?? [])],
    /** By key, the keys of which it needs one beside it. */
    needs: Object.fromEntries(Object.entries(mapping?.dependencies ?? {}).map(([key, one]) => [key, needs(one, root)])),
    /** The words about names. */
    names: named && resolved(named.propertyNames, root)['x-error'],
    each: named ? place(named.additionalProperties, root, what) : list && place(list.items, root, error.what, error),
  }
}
