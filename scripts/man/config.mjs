// xdp.yaml(5): keys, values and defaults from the schema, prose from docs/config.md.
import { blocks, convert, inline, introduction, section, titles } from './markdown.mjs'
import { definition, heading, line, literal, page, paragraph } from './roff.mjs'

const lookup = (ref, root) =>
  ref
    .slice(2)
    .split('/')
    .reduce((at, name) => at[name], root)

/** A schema with what it refers to; what it says itself goes before. */
function resolved(schema, root) {
  const ref = schema.$ref ?? schema.allOf?.find(({ $ref }) => $ref)?.$ref
  return ref === undefined ? schema : { ...resolved(lookup(ref, root), root), ...schema }
}

const code = (value) => literal(typeof value === 'string' ? value : JSON.stringify(value))
const either = (texts) => [...new Set(texts)].join(' or ')
const typesOf = ({ type }) => [type ?? []].flat().filter((name) => name !== 'null')

function number({ minimum, maximum }) {
  if (minimum === undefined) return 'a whole number'
  return `a whole number, ${maximum === undefined ? `${minimum} or more` : `${minimum} to ${maximum}`}`
}

function alternatives(schemas, root) {
  const texts = schemas.map((one) => value(one, root))
  const others = either(texts.slice(0, -1))
  // One or several of the same.
  return texts.at(-1) === `a list, each of it ${others}` ? `${others}, or a list of such` : either(texts)
}

/** What may be written, in words. */
function value(schema, root) {
  const spec = resolved(schema, root)
  if ('const' in spec) return code(spec.const)
  if (spec.enum) return either(spec.enum.map(code))
  if (spec.anyOf) return alternatives(spec.anyOf, root)
  const [type] = typesOf(spec)
  if (type === 'array') return `a list, each of it ${value(spec.items, root)}`
  return { integer: number(spec), boolean: `${code(true)} or ${code(false)}`, object: 'a mapping' }[type] ?? 'a text'
}

/** The mapping that a value is or may be, or that each of a list is; with its place below the value. */
function mapping(schema, root) {
  const spec = resolved(schema, root)
  if (spec.properties || typeof spec.additionalProperties === 'object') return { spec, place: '' }
  for (const one of spec.anyOf ?? []) {
    const found = mapping(one, root)
    if (found) return found
  }
  const found = spec.items && mapping(spec.items, root)
  return found && { ...found, place: `[]${found.place}` }
}

/** Every key below a mapping, with its path: NAME stands for any name, [] for each of a list. */
export function keys(schema, root = schema, path = '', seen = new Map()) {
  const { properties = {}, additionalProperties } = schema
  const named = typeof additionalProperties === 'object' ? { NAME: additionalProperties } : {}
  return Object.entries({ ...properties, ...named }).flatMap(([name, spec]) => {
    const at = path === '' ? name : `${path}.${name}`
    const below = mapping(spec, root)
    const where = below && `${at}${below.place}`
    const inside = below && (below.spec.properties ?? below.spec.additionalProperties)
    const known = below && seen.get(inside)
    if (below && !known) seen.set(inside, where)
    const self = { path: at, spec, like: known }
    return [self, ...(below && !known ? keys(below.spec, root, where, seen) : [])]
  })
}

function entry({ path, spec, like }, root) {
  const { description = '', default: usual } = resolved(spec, root)
  const told = usual === undefined || typeof usual === 'object' || /Default:/.test(description)
  return definition(literal(path), [
    line(`${value(spec, root)}${told ? '' : `; default: ${code(usual)}`}`),
    '.br',
    line(inline(description)),
    ...(like === undefined ? [] : ['.br', `The keys are those of ${literal(like)}.`]),
  ])
}

/** The page. `docs` is the text of docs/config.md. */
export function configPage(schema, docs, about) {
  const text = blocks(docs)
  const isKeyTable = ({ type, header }) => type === 'table' && header[0].text === 'Key'
  const prose = (title) => convert(section(text, title), { drop: isKeyTable })
  const [first, ...others] = titles(text).filter((title) => title !== 'Keys')
  return page({ ...about, name: 'xdp.yaml', section: 5, manual: 'File Formats Manual' }, [
    heading('Name'),
    'xdp.yaml \\- packet policy of a host, for xdp(8)',
    heading('Synopsis'),
    ['./xdp.yaml', '/etc/xdp/xdp.yaml'].map((path) => literal(path)).join(',\n'),
    heading('Description'),
    ...convert(introduction(text)),
    heading(first),
    ...prose(first),
    heading('Keys'),
    ...paragraph(`${literal('NAME')} stands for any name, ${literal('[]')} for each element of a list.`),
    ...keys(schema).flatMap((key) => entry(key, schema)),
    heading('More about the keys'),
    ...prose('Keys'),
    ...others.flatMap((title) => [heading(title), ...prose(title)]),
    heading('See also'),
    `${literal('xdp')}(8)`,
  ])
}
