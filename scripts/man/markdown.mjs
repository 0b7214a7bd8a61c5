// The Markdown of docs/, as marked reads it, → roff.
import { lexer } from 'marked'
import {
  bold,
  bullet,
  definition,
  escaped,
  inside,
  italic,
  line,
  literal,
  numbered,
  paragraph,
  subheading,
  verbatim,
} from './roff.mjs'

/** The blocks of a text, without comments. */
export const blocks = (text) => lexer(text).filter(({ type }) => type !== 'space' && type !== 'html')

/** A link of docs/ with its target in words, unless that is in the same text: a manual page has no links. */
function link({ text, href, tokens }) {
  const label = spans(tokens)
  if (href.startsWith('#')) return label
  if (/^\w+:/.test(href)) return text === href ? escaped(href) : `${label} (${escaped(href)})`
  const path = href.replace(/#.*/, '')
  const whole = escaped(path.startsWith('../') ? path.slice(3) : `docs/${path}`)
  return path.endsWith(text.replaceAll('`', '')) ? whole : `${label} (${whole})`
}

function span(token) {
  switch (token.type) {
    case 'text':
    case 'escape':
      return token.tokens ? spans(token.tokens) : escaped(token.text.replace(/\s*\n\s*/g, ' '))
    case 'codespan':
      return literal(token.text)
    case 'strong':
      return bold(spans(token.tokens))
    case 'em':
      return italic(spans(token.tokens))
    case 'link':
      return link(token)
    default:
      throw new Error(`manual pages have nothing for ${token.type}: ${token.raw}`)
  }
}

/** Marked-up text, with fonts. */
const spans = (tokens) => tokens.map(span).join('')

/** One line of Markdown. */
export const inline = (text) => spans(lexer(text).flatMap(({ tokens = [] }) => tokens))

/** The blocks between a heading of the second level or below and the next heading of its level or above. */
export function section(all, title) {
  const at = all.findIndex(({ type, depth, text }) => type === 'heading' && depth > 1 && text === title)
  if (at < 0) throw new Error(`there is no section "${title}"`)
  const next = all.findIndex(({ type, depth }, index) => index > at && type === 'heading' && depth <= all[at].depth)
  return all.slice(at + 1, next < 0 ? undefined : next)
}

/** Titles of the sections, in order. */
export const titles = (all) =>
  all.filter(({ type, depth }) => type === 'heading' && depth === 2).map(({ text }) => text)

/** The blocks between the title and the first section. */
export function introduction(all) {
  const end = all.findIndex(({ type, depth }) => type === 'heading' && depth === 2)
  return all.slice(0, end < 0 ? undefined : end).filter(({ type }) => type !== 'heading')
}

/** A table as a list of definitions of its first column. `titled`: begins with the heading of that column. */
function table({ header, rows }, titled) {
  const title = titled ? paragraph(`${spans(header[0].tokens)}:`) : []
  return title.concat(
    rows.flatMap(([term, ...values]) => {
      const lines = values.flatMap(({ text, tokens }, index) => {
        if (text === '') return []
        return [line(values.length === 1 ? spans(tokens) : `${spans(header[index + 1].tokens)}: ${spans(tokens)}`)]
      })
      return definition(
        spans(term.tokens),
        lines.flatMap((text, index) => (index === 0 ? [text] : ['.br', text])),
      )
    }),
  )
}

function list({ ordered, start, items }) {
  return items.flatMap(({ tokens }, index) => {
    const isText = ({ type }) => type === 'text' || type === 'paragraph'
    const text = tokens
      .filter(isText)
      .map((token) => spans(token.tokens))
      .join(' ')
    const blocksBelow = tokens.filter((token) => !isText(token) && token.type !== 'space')
    const own = ordered ? numbered(start + index, text) : bullet(text)
    return blocksBelow.length === 0 ? own : [...own, ...inside(convert(blocksBelow))]
  })
}

/** Ends a text with a full stop if the block that it announces is dropped. */
const announcing = (text, dropped) => (dropped ? text.replace(/:$/, '.') : text)

/** Roff of blocks. `drop`: blocks that another part of the page has. */
export function convert(all, { drop = () => false } = {}) {
  const dropped = all.map(drop)
  return all.flatMap((token, index) => {
    if (dropped[index]) return []
    switch (token.type) {
      case 'code':
        return verbatim(token.text.split('\n'))
      case 'heading':
        return [subheading(spans(token.tokens))]
      case 'table':
        return table(token, all[index - 1]?.type === 'table')
      case 'list':
        return list(token)
      case 'paragraph':
        return paragraph(announcing(spans(token.tokens), dropped[index + 1]))
      default:
        throw new Error(`manual pages have nothing for ${token.type}: ${token.raw}`)
    }
  })
}
