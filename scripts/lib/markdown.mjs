// Writes Markdown.

const cell = (text) => (text === '' ? ' ' : ` ${text.replaceAll('|', '\\|')} `)
const line = (cells) => `|${cells.map(cell).join('|')}|`

/** A table from its head and rows, each a list of cells in Markdown. */
export const table = (head, rows) => [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')

export const code = (text) => `\`${text}\``
