// The Markdown of docs/ → roff: headings, paragraphs, lists, fenced blocks and tables; emphasis, code and links.
import {
  bold,
  bullet,
  definition,
  escaped,
  italic,
  line,
  literal,
  numbered,
  paragraph,
  subheading,
  verbatim,
} from './roff.mjs'

const INLINE = /`([^`]+)`|\*\*(.+?)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\(([^)]+)\)|<(https?:[^>]+)>/g

/**
 * The target of a link in docs/, unless it is in the page itself: readers of a manual page have only the words to
 * follow.
 */
function link(label, target) {
  if (target.startsWith('#')) return inline(label)
  const path = target.replace(/#.*/, '')
  const whole = escaped(path.startsWith('../') ? path.slice(3) : `docs/${path}`)
  return path.endsWith(label.replaceAll('`', '')) ? whole : `${inline(label)} (${whole})`
}

/** Converts marks inside a text to fonts. */
export function inline(text) {
  let out = ''
  let at = 0
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, strong, emphasis, label, target, address] = match
    out += escaped(text.slice(at, match.index))
    if (code !== undefined) out += literal(code)
    else if (strong !== undefined) out += bold(inline(strong))
    else if (emphasis !== undefined) out += italic(inline(emphasis))
    else out += address === undefined ? link(label, target) : escaped(address)
    at = match.index + whole.length
  }
  return out + escaped(text.slice(at))
}

/** Every heading with its line; a comment in a fenced block is not a heading. */
function headings(lines) {
  let fenced = false
  return lines.flatMap((text, at) => {
    if (text.startsWith('```')) fenced = !fenced
    const [, signs, title] = (!fenced && /^(#+) (.*)$/.exec(text)) || []
    return signs === undefined ? [] : [{ level: signs.length, title, at }]
  })
}

/** The section under a heading of level two or more, up to the next heading of its level, without both headings. */
export function section(text, title) {
  const lines = text.split('\n')
  const all = headings(lines)
  const found = all.findIndex((one) => one.title === title && one.level > 1)
  if (found < 0) throw new Error(`there is no section "${title}"`)
  const { level, at } = all[found]
  const next = all.slice(found + 1).find((one) => one.level <= level)
  return lines.slice(at + 1, next?.at).join('\n')
}

/** Titles of the sections of a text, in order. */
export const titles = (text) =>
  headings(text.split('\n'))
    .filter(({ level }) => level === 2)
    .map(({ title }) => title)

/** The text between the title and the first heading. */
export const introduction = (text) => text.replace(/^# .*\n/, '').split(/^## /m)[0]

const cells = (row) =>
  row
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))

/**
 * A table as a list of definitions of the terms in its first column. `titled`: begins with the title of
 * that column, because no text introduces the table.
 */
function table(rows, titled) {
  const [head, , ...body] = rows.map(cells)
  const title = titled ? paragraph(`${inline(head[0])}:`) : []
  return title.concat(
    body.flatMap(([term, ...values]) => {
      const texts = values.flatMap((value, index) => {
        if (value === '') return []
        return values.length === 1 ? [inline(value)] : [`${escaped(head[index + 1])}: ${inline(value)}`]
      })
      return definition(
        inline(term),
        texts.flatMap((text, index) => (index === 0 ? [line(text)] : ['.br', line(text)])),
      )
    }),
  )
}

const kindOf = (first) => {
  if (first.startsWith('#')) return 'heading'
  if (first.startsWith('|')) return 'table'
  return /^(?:- |\d+\. )/.test(first) ? 'list' : 'text'
}

/** The line behind the block that begins at `at`. */
function endOf(lines, at) {
  if (lines[at].startsWith('#')) return at + 1
  const end = lines.findIndex((text, index) => index > at && (text.trim() === '' || text.startsWith('```')))
  return end < 0 ? lines.length : end
}

/** The blocks of a text: runs of lines of one kind. */
function* blocks(text) {
  const lines = text.split('\n')
  for (let at = 0; at < lines.length; ) {
    if (lines[at].trim() === '') at++
    else if (lines[at].startsWith('```')) {
      const end = lines.indexOf('```', at + 1)
      if (end < 0) throw new Error(`a fenced block does not end: ${lines[at + 1]}`)
      yield { kind: 'fence', lines: lines.slice(at + 1, end) }
      at = end + 1
    } else {
      const end = endOf(lines, at)
      yield { kind: kindOf(lines[at]), lines: lines.slice(at, end) }
      at = end
    }
  }
}

/** The items of a list, one text each. */
const items = (lines) => lines.join('\n').split(/\n(?=- |\d+\. )/)

function list(lines) {
  return items(lines).flatMap((item) => {
    const [, number, text] = /^(?:- |(\d+)\. )(.*)$/s.exec(item)
    const joined = inline(text.replace(/\s*\n\s*/g, ' '))
    return number === undefined ? bullet(joined) : numbered(number, joined)
  })
}

/** If the announced block is dropped, the announcement ends as a sentence. */
const announcing = (text, dropped) => (dropped ? text.replace(/:$/, '.') : text)

/** Converts a text to roff. `drop`: selects blocks that the page has from another source. */
export function convert(text, { drop = () => false } = {}) {
  const all = [...blocks(text)].map((block) => ({ ...block, dropped: drop(block) }))
  return all.flatMap(({ kind, lines, dropped }, index) => {
    if (dropped) return []
    switch (kind) {
      case 'fence':
        return verbatim(lines)
      case 'heading':
        return [subheading(inline(lines[0].replace(/^#+ /, '')))]
      case 'table':
        return table(lines, all[index - 1]?.kind === 'table')
      case 'list':
        return list(lines)
      default:
        return paragraph(inline(announcing(lines.join(' '), all[index + 1]?.dropped)))
    }
  })
}
