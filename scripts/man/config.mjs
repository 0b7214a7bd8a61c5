// xdp.yaml(5): keys, values and defaults from the schema, prose from docs/config.md.
import { describe } from '../schema/describe.mjs'
import { place } from '../schema/places.mjs'
import { blocks, convert, inline, introduction, section, titles } from './markdown.mjs'
import { definition, heading, line, literal, page, paragraph } from './roff.mjs'

/** The place that holds the keys of a value: the value itself, or each element of a list. */
const holder = (one, path) =>
  one.mapping === undefined && one.each && !one.names ? [one.each, `${path}[]`] : [one, path]

/** Every key below a place with its path: NAME stands for any name, [] for each of a list. */
function* below(at, path = '') {
  for (const [key, one] of [...at.below, ...(at.names ? [['NAME', at.each]] : [])]) {
    const here = path === '' ? key : `${path}.${key}`
    const [holds, where] = holder(one, here)
    yield { path: here, place: one, isRequired: at.required.includes(key), mapping: holds.mapping, where }
    yield* below(holds, where)
  }
}

const depth = (path) => path.split('.').length

/** The highest place of each mapping: the page lists its keys there. */
function homesOf(all) {
  const homes = new Map()
  for (const { mapping, where } of all) {
    const known = homes.get(mapping)
    if (known === undefined || depth(where) < depth(known)) homes.set(mapping, where)
  }
  return homes
}

/** Defaults that go without saying. */
const NOTHING = ['', '`{}`', '`[]`']

function entry({ path, place: one, isRequired }, home) {
  const { value, standard, example, description } = describe(one, isRequired)
  const usual = isRequired ? '; required' : `; default: ${standard}`
  return definition(literal(path), [
    line(inline(NOTHING.includes(standard) ? value : `${value}${usual}`)),
    '.br',
    line(inline(description)),
    ...(example === '' ? [] : ['.br', line(inline(`Example: ${example}`))]),
    ...(home === undefined ? [] : ['.br', `The keys are those of ${literal(home)}.`]),
  ])
}

/** An entry for each key. A mapping whose keys are listed elsewhere refers to that place. */
function keys(schema) {
  const all = [...below(place(schema, schema, 'the file'))]
  const homes = homesOf(all)
  const homeOf = ({ mapping, where }) =>
    mapping === undefined || homes.get(mapping) === where ? undefined : homes.get(mapping)
  const hidden = all.filter((one) => homeOf(one) !== undefined).map(({ where }) => `${where}.`)
  return all
    .filter(({ path }) => !hidden.some((prefix) => path.startsWith(prefix)))
    .flatMap((one) => entry(one, homeOf(one)))
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
    ...keys(schema),
    heading('More about the keys'),
    ...prose('Keys'),
    ...others.flatMap((title) => [heading(title), ...prose(title)]),
    heading('See also'),
    `${literal('xdp')}(8)`,
  ])
}
