// Terminal text with colours (SGR sequences) → an SVG that is legible on a light and on a dark page.

const CELL = { width: 8.4, height: 19 }
const MARGIN = 18
const BAR = 34

/** The 16 colours of a terminal with a dark background. */
const PALETTE = [
  ...['#484f58', '#ff7b72', '#3fb950', '#d29922', '#58a6ff', '#bc8cff', '#39c5cf', '#b1bac4'],
  ...['#6e7681', '#ffa198', '#56d364', '#e3b341', '#79c0ff', '#d2a8ff', '#56d4dd', '#f0f6fc'],
]
const GROUND = '#0d1117'
const TEXT = '#e6edf3'

/** xterm's colour cube and grey ramp, for indices from 16 on. */
function indexed(index) {
  if (index < 16) return PALETTE[index]
  if (index >= 232) return `#${(8 + (index - 232) * 10).toString(16).padStart(2, '0').repeat(3)}`
  const level = (step) => (step === 0 ? 0 : 55 + step * 40).toString(16).padStart(2, '0')
  const cell = index - 16
  return `#${level(Math.floor(cell / 36))}${level(Math.floor(cell / 6) % 6)}${level(cell % 6)}`
}

/** SGR codes without parameters → the styles that they set. */
const STYLES = new Map([
  [1, { bold: true }],
  [2, { dim: true }],
  [3, { italic: true }],
  [4, { underline: true }],
  [22, { bold: false, dim: false }],
  [23, { italic: false }],
  [24, { underline: false }],
  [39, { color: undefined }],
  ...PALETTE.map((color, i) => [i < 8 ? 30 + i : 82 + i, { color }]),
])

/** Applies the numbers of one SGR sequence to a style. */
function restyle(style, codes) {
  const [code, kind, ...rest] = codes
  if (code === undefined) return style
  if (code === 38 && kind === 5) return restyle({ ...style, color: indexed(rest[0]) }, rest.slice(1))
  if (code === 38 && kind === 2) return restyle({ ...style, color: `rgb(${rest.slice(0, 3)})` }, rest.slice(3))
  return restyle(code === 0 ? {} : { ...style, ...STYLES.get(code) }, codes.slice(1))
}

/** One line → runs of equally styled text, each with its column. The style carries over to the next line. */
function runs(line, style) {
  const found = []
  let current = style
  let column = 0
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is parsed here
  for (const part of line.split(/(\x1b\[[\d;]*m)/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
    const codes = /^\x1b\[([\d;]*)m$/.exec(part)
    if (codes) current = restyle(current, codes[1].split(';').map(Number))
    else if (part !== '') {
      found.push({ text: part, column, style: current })
      column += [...part].length
    }
  }
  return { found, style: current }
}

const quote = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

function attributes({ color, bold, dim, italic, underline }) {
  return [
    color ? ` fill="${color}"` : '',
    bold ? ' font-weight="bold"' : '',
    dim ? ' opacity="0.6"' : '',
    italic ? ' font-style="italic"' : '',
    underline ? ' text-decoration="underline"' : '',
  ].join('')
}

/** `text` (lines with SGR sequences) as an SVG of `columns` columns with a window around it. */
export function toSvg(text, { columns, title }) {
  const lines = text.replace(/\s+$/, '').split('\n')
  const width = Math.ceil(columns * CELL.width + 2 * MARGIN)
  const height = BAR + lines.length * CELL.height + MARGIN
  let style = {}
  const body = lines.flatMap((line, row) => {
    const { found, style: last } = runs(line, style)
    style = last
    const y = BAR + 14 + row * CELL.height
    return found
      .filter(({ text: words }) => words.trim() !== '')
      .map(({ text: words, column, style: own }) => {
        // Each run has its position and length, so that columns line up in any font.
        const lead = words.length - words.trimStart().length
        const kept = words.trim()
        const x = (MARGIN + (column + lead) * CELL.width).toFixed(1)
        const length = ([...kept].length * CELL.width).toFixed(1)
        return `<text x="${x}" y="${y}" textLength="${length}"${attributes(own)}>${quote(kept)}</text>`
      })
  })
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${quote(title)}</title>`,
    `<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="${GROUND}" stroke="#30363d"/>`,
    ...['#ff5f57', '#febc2e', '#28c840'].map((dot, i) => `<circle cx="${20 + i * 18}" cy="17" r="5.5" fill="${dot}"/>`),
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', Consolas, monospace" font-size="14" fill="${TEXT}" xml:space="preserve">`,
    ...body,
    '</g>',
    '</svg>',
  ].join('\n')}\n`
}
