// Text → roff for man(7), in the form that both groff and mandoc read.

/** Characters that roff would interpret, or typeset in a form that cannot be pasted back. */
const SPECIAL = { '\\': '\\e', '-': '\\-', "'": '\\(aq', '`': '\\(ga', '^': '\\(ha', '~': '\\(ti', '"': '\\(dq' }

/** A run of text, escaped. */
export const escaped = (text) =>
  text
    .replace(/[\\\-'`^~"]/g, (character) => SPECIAL[character])
    .replace(
      /[^\0-\x7f]/gu,
      (character) => `\\[u${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}]`,
    )

/** Text to type: bold, and never hyphenated. */
export const literal = (text) => bold(text.replace(/\S+/g, (word) => `\\%${escaped(word)}`))

export const bold = (text) => `\\fB${text}\\fR`
export const italic = (text) => `\\fI${text}\\fR`

/** A line of text, protected from being read as a request. */
export const line = (text) => (/^[.']/.test(text) ? `\\&${text}` : text)

export const heading = (title) => ['.SH', escaped(title.toUpperCase())].join(' ')
export const subheading = (title) => `.SS ${title}`
export const paragraph = (text) => ['.PP', line(text)]

/** A term with its explanation indented under it. */
export const definition = (term, lines) => ['.TP', line(term), ...lines]

/** Lines printed verbatim. */
export const verbatim = (lines) => ['.PP', '.RS 4', '.EX', ...lines.map((text) => line(escaped(text))), '.EE', '.RE']

export const bullet = (text) => ['.IP \\(bu 2', line(text)]
export const numbered = (number, text) => [`.IP ${number}. 3`, line(text)]

/** A complete page with ragged margins. `date` is YYYY-MM-DD. */
export function page({ name, section, date, source, manual }, body) {
  const title = `.TH ${escaped(name.toUpperCase())} ${section} ${date} "${escaped(source)}" "${escaped(manual)}"`
  // A heading already begins a paragraph.
  const lines = body.filter((text, at) => text !== '.PP' || !/^\.S[HS] /.test(body[at - 1] ?? ''))
  return `${[title, '.ad l', ...lines].join('\n')}\n`
}
