// Writes Markdown, and the made parts of a page. Each of those stands between two comments, such as:
//
//   <!-- metrics -->
//   <!-- end of metrics -->

const cell = (text) => (text === '' ? ' ' : ` ${text.replaceAll('|', '\\|')} `)
const line = (cells) => `|${cells.map(cell).join('|')}|`

/** A table from its head and rows, each a list of cells in Markdown. */
export const table = (head, rows) => [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')

export const code = (text) => `\`${text}\``

const partsNamed = (name) => new RegExp(`(<!-- ${name}(|: [^\\n]*?) -->).*?(<!-- end of ${name} -->)`, 'gs')

/** What the first comment of each part says behind the name and a colon; empty if it says nothing more. */
export const partsOf = (text, name) => [...text.matchAll(partsNamed(name))].map(([, , more]) => more.slice(2))

/** The text with every part of this name made by `make`, from what its first comment says. Throws if there is none. */
export function withParts(text, name, make) {
  if (partsOf(text, name).length === 0)
    throw new Error(`the page has no comments "<!-- ${name} -->" and "<!-- end of ${name} -->"`)
  return text.replace(partsNamed(name), (_, begin, more, end) => `${begin}\n\n${make(more.slice(2))}\n\n${end}`)
}
