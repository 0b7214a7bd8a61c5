// Text → roff for man(7), as groff and mandoc both read it.

/** Characters that roff would interpret, or typeset as others that cannot be pasted back. */
const SPECIAL = { '\\': '\\e', '-': '\\-', "'": '\\(aq', '`': '\\(ga', '^': '\\(ha', '~': '\\(ti', '"': '\\(dq' }

/** Text without markup. */
export const escaped = (text) =>
  text
    .replace(/[\\\-'`^~"]/g, (character) => SPECIAL[character])
    .replace(
      /[^\0-\x7f]/gu,
      (character) => `\\[u${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}]`,
    )

/** Typed text: bold, and never hyphenated. */
export const literal = (text) => bold(text.replace(/\S+/g, (word) => `\\%${escaped(word)}`))

export const bold = (text) => `\\fB${text}\\fR`
export const italic = (text) => `\\fI${text}\\fR`

/** A line of text that does not begin like a request. */
export const line = (text) => (/^[.']/.test(text) ? `\\&${text}` : text)

export const heading = (title) => ['.SH', escaped(title.toUpperCase())].join(' ')
export const subheading = (title) => `.SS ${title}`
export const paragraph = (text) => ['.PP', line(text)]

/** A term with its explanation indented under it. */
export const definition = (term, lines) => ['.TP', line(term), ...lines]

/** Preformatted lines. */
export const verbatim = (lines) => ['.PP', '.RS 4', '.EX', ...lines.map((text) => line(escaped(text))), '.EE', '.RE']

/** Blocks that belong to the list item before them. */
export const inside = (lines) => ['.RS', ...lines, '.RE']

export const bullet = (text) => ['.IP \\(bu 2', line(text)]
export const numbered = (number, text) => [`.IP ${number}. 3`, line(text)]

/** A whole page, set ragged. `date` is YYYY-MM-DD. */
export function page({ name, section, date, source, manual }, body) {
  const title = `.TH ${escaped(name.toUpperCase())} ${section} ${date} "${escaped(source)}" "${escaped(manual)}"`
  // A heading begins a paragraph by itself.
  const lines = body.filter((text, at) => text !== '.PP' || !/^\.S[HS] /.test(body[at - 1] ?? ''))
  return `${[title, '.ad l', ...lines].join('\n')}\n`
}
