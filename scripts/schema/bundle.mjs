// Makes a self-contained schema from schemas/NAME.schema.json, which refers to the files beside it.

/** The file whose definitions the others share. */
const SHARED = 'shared.schema.json'
/** The config's schema. Outputs take only the words of an `enum` from it: the rest is about editing a config. */
const CONFIG = 'xdp.schema.json'
/** Keywords that only the build reads. */
const OWN = /^x-/
/** Names a part that records of the code provide. */
const FROM_CODE = 'x-from'

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** The value at a JSON pointer. Throws if there is none. */
export function lookup(schema, pointer) {
  const found = pointer
    .split('/')
    .slice(1)
    .reduce((at, step) => at?.[step], schema)
  if (found === undefined) throw new Error(`there is nothing at ${pointer}`)
  return found
}

/** An `allOf` of a single schema, as that schema. A `$ref` stays: draft-07 ignores what stands beside it. */
function flat({ allOf, ...rest }) {
  if (allOf === undefined) return rest
  const [only] = allOf
  return allOf.length > 1 || '$ref' in only ? { ...rest, allOf } : { ...rest, ...only }
}

/**
 * The schema of a file with every definition that it needs.
 *
 * @param read gives the content of a file by its name
 * @param provided by value of `x-from`: the words of an `enum`, or other keywords that replace it
 */
export function bundled(file, read, provided = {}) {
  const needed = {}
  const fromCode = (name) => {
    const found = provided[name]
    if (found === undefined) throw new Error(`${file}: ${FROM_CODE} is ${name}, which the build does not know`)
    return Object.entries(Array.isArray(found) ? { enum: found } : found)
  }
  const follow = (ref, from) => {
    const [path, pointer] = ref.split('#')
    const at = path === '' ? from : path
    if (at === file) return { $ref: ref }
    if (at === CONFIG) {
      const { enum: values } = lookup(read(CONFIG), pointer)
      if (values === undefined) throw new Error(`${file}: ${ref} has no words`)
      return { enum: values }
    }
    if (at !== SHARED) throw new Error(`${file}: ${ref} is neither in ${SHARED} nor in ${CONFIG}`)
    const name = pointer.split('/').at(-1)
    if (!(name in needed)) {
      needed[name] = undefined // A definition may refer to itself.
      needed[name] = within(lookup(read(SHARED), pointer), SHARED)
    }
    return { $ref: `#/definitions/${name}` }
  }
  const within = (node, from) => {
    if (Array.isArray(node)) return node.map((one) => within(one, from))
    if (!isObject(node)) return node
    if (typeof node.$ref === 'string') return follow(node.$ref, from)
    const entries = Object.entries(node).flatMap(([key, value]) =>
      key === FROM_CODE ? fromCode(value) : [[key, value]],
    )
    const published = entries.filter(([key]) => !OWN.test(key))
    return flat(Object.fromEntries(published.map(([key, value]) => [key, within(value, from)])))
  }
  const { definitions: own = {}, ...schema } = within(read(file), file)
  const twice = Object.keys(own).filter((name) => name in needed)
  if (twice.length > 0) throw new Error(`${file}: ${SHARED} defines ${twice.join(', ')} too`)
  const definitions = { ...own, ...needed }
  return Object.keys(definitions).length === 0 ? schema : { ...schema, definitions }
}
