// xdp(8): flags, arguments and examples from the table that --help is made from, prose from docs/commands.md.
import { blocks, convert, section, titles } from './markdown.mjs'
import { definition, escaped, heading, italic, line, literal, page, paragraph, subheading, verbatim } from './roff.mjs'

function flagTerm(name, { short, value }) {
  const spelled = [...(short === undefined ? [] : [`-${short}`]), `--${name}`].map((text) => literal(text))
  return `${spelled.join(', ')}${value === undefined ? '' : ` ${italic(escaped(value))}`}`
}

const flagList = (flags) =>
  Object.entries(flags).flatMap(([name, spec]) => definition(flagTerm(name, spec), [line(escaped(spec.help))]))

const argumentsOf = ({ argument, second }) => [argument, second].filter((spec) => spec !== undefined)

/** `\\%` forbids hyphens at the start of a word; inside it would ask for one. */
const bracketed = (term) => `\\%[${term.replaceAll('\\%', '')}]`

function usage(spec) {
  const { name, flags } = spec
  const positional = argumentsOf(spec).map((one) => {
    const wanted = `${italic(escaped(one.name))}${one.multiple ? '...' : ''}`
    return one.required ? wanted : `[${wanted}]`
  })
  const own = Object.entries(flags).map(([flag, one]) => bracketed(flagTerm(flag, { ...one, short: undefined })))
  return [literal(`xdp ${name}`), ...positional, ...own].join(' ')
}

/** Drops the usage, the first fence of a section of docs/commands.md: the page has it from the table of commands. */
function withoutUsage() {
  let first = true
  return ({ type }) => {
    if (type !== 'code' || !first) return false
    first = false
    return true
  }
}

const sentence = (text) => escaped(text[0].toUpperCase() + text.slice(1))

const examples = (list) =>
  list.flatMap(({ line: command, does }) => [...paragraph(`${sentence(does)}:`), ...verbatim([command])])

function command(spec, docs) {
  const { name, summary, flags } = spec
  return [
    subheading(literal(`xdp ${name}`)),
    ...paragraph(usage(spec)),
    ...paragraph(`${sentence(summary)}.`),
    ...convert(section(docs, name), { drop: withoutUsage() }),
    ...argumentsOf(spec).flatMap((one) => definition(italic(escaped(one.name)), [line(escaped(one.help))])),
    ...flagList(flags),
    ...examples(spec.examples),
  ]
}

/** Names that manual pages use. */
const USUAL = { 'Exit statuses': 'Exit status' }

/** The section of docs/commands.md whose table is dropped too. */
const GLOBALS = 'Flags of every command'

/** The page. `markdown` is the text of docs/commands.md. */
export function commandsPage({ commands, globals, intro }, markdown, about) {
  const docs = blocks(markdown)
  return page({ ...about, name: 'xdp', section: 8, manual: "System Manager's Manual" }, [
    heading('Name'),
    `xdp \\- ${escaped(intro.summary)}`,
    heading('Synopsis'),
    `${literal('xdp')} ${italic('COMMAND')} [${italic('FLAGS')}]`,
    heading('Description'),
    ...intro.paragraphs.flatMap((text) => paragraph(escaped(text))),
    ...definition(literal('xdp help'), ['lists the commands.']),
    ...definition(`${literal('xdp help')} ${italic('COMMAND')}`, ['explains one of them.']),
    heading('Commands'),
    ...commands.flatMap((spec) => command(spec, docs)),
    heading(GLOBALS),
    ...convert(section(docs, GLOBALS), { drop: ({ type }) => type === 'table' }),
    ...flagList(globals),
    ...titles(docs)
      .filter((title) => title !== GLOBALS && !commands.some(({ name }) => name === title))
      .flatMap((title) => [heading(USUAL[title] ?? title), ...convert(section(docs, title))]),
    heading('See also'),
    ['xdp.yaml(5)', 'bpftool(8)', 'ip(8)', 'nft(8)']
      .map((name) => literal(name.slice(0, -3)) + name.slice(-3))
      .join(',\n'),
  ])
}
