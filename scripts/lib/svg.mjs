// Terminal text with colours (SGR sequences) → an SVG for light and for dark pages.
//
// Renderers collapse runs of spaces, and fonts differ in width. So no space is written, and every character has its own x:
// columns line up in any font.

const CELL = { width: 7.8, height: 17 }
const SIZE = 13
const MARGIN = 16
const BAR = 30

/** The 16 colours of a terminal, and what is around them, on a dark page and on a light one. */
const THEMES = {
  dark: {
    palette: [
      ...['#6e7681', '#ff7b72', '#3fb950', '#d29922', '#58a6ff', '#bc8cff', '#39c5cf', '#b1bac4'],
      ...['#8b949e', '#ffa198', '#56d364', '#e3b341', '#79c0ff', '#d2a8ff', '#56d4dd', '#f0f6fc'],
    ],
    ground: '#0d1117',
    frame: '#30363d',
    text: '#e6edf3',
    dim: '#8b949e',
  },
  light: {
    palette: [
      ...['#24292f', '#cf222e', '#116329', '#7d4e00', '#0969da', '#8250df', '#1b7c83', '#57606a'],
      ...['#57606a', '#a40e26', '#1a7f37', '#633c01', '#218bff', '#a475f9', '#3192aa', '#6e7781'],
    ],
    ground: '#f6f8fa',
    frame: '#d0d7de',
    text: '#1f2328',
    dim: '#59636e',
  },
}

function rules({ palette, ground, frame, text, dim }) {
  const colours = palette.map((colour, i) => `.c${i}{fill:${colour}}`).join('')
  return `.w{fill:${ground};stroke:${frame}}.t{fill:${text}}.d{fill:${dim}}${colours}`
}

const STYLE = `${rules(THEMES.light)}@media(prefers-color-scheme:dark){${rules(THEMES.dark)}}.b{font-weight:bold}.i{font-style:italic}.u{text-decoration:underline}`

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
  ...Array.from({ length: 16 }, (_, i) => [i < 8 ? 30 + i : 82 + i, { color: i }]),
])

/** Applies the numbers of one SGR sequence to a style. */
function restyle(style, codes) {
  const [code, kind, ...rest] = codes
  if (code === undefined) return style
  if (code === 38 && kind === 5 && rest[0] < 16) return restyle({ ...style, color: rest[0] }, rest.slice(1))
  if (code === 38) throw new Error('the session uses a colour that no theme has')
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

/** Classes of a style; `bold` and the others are independent of the colour. */
function classes({ color, bold, dim, italic, underline }) {
  const colour = color === undefined ? (dim ? ['d'] : []) : [`c${color}`]
  const names = [...colour, ...(bold ? ['b'] : []), ...(italic ? ['i'] : []), ...(underline ? ['u'] : [])]
  return names.length > 0 ? ` class="${names.join(' ')}"` : ''
}

const place = (number) => String(Math.round(number * 10) / 10)

/** The words of a run, each as text whose characters have their columns. */
function wordsOf({ text, column, style }, y) {
  return [...text.matchAll(/[^ ]+/g)].map(({ 0: word, index }) => {
    const first = column + [...text.slice(0, index)].length
    const xs = [...word].map((_, i) => place(MARGIN + (first + i) * CELL.width))
    return `<text x="${xs.join(' ')}" y="${y}"${classes(style)}>${quote(word)}</text>`
  })
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
    return found.flatMap((run) => wordsOf(run, BAR + 14 + row * CELL.height))
  })
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="t">`,
    `<title id="t">${quote(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="w" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    ...['#ff5f57', '#febc2e', '#28c840'].map((dot, i) => `<circle cx="${18 + i * 16}" cy="16" r="5" fill="${dot}"/>`),
    `<g class="t" font-family="ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', Consolas, monospace" font-size="${SIZE}">`,
    ...body,
    '</g>',
    '</svg>',
  ].join('\n')}\n`
}

/** The lines that a picture of `toSvg` shows, by the columns of its characters. */
export function shownBy(svg) {
  const rows = []
  for (const [, xs, y, word] of svg.matchAll(/<text x="([^"]*)" y="(\d+)"[^>]*>([^<]*)<\/text>/g)) {
    const row = (Number(y) - BAR - 14) / CELL.height
    const characters = [...word.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')]
    rows[row] ??= []
    xs.split(' ').forEach((x, i) => {
      rows[row][Math.round((Number(x) - MARGIN) / CELL.width)] = characters[i]
    })
  }
  return Array.from(rows, (row = []) => Array.from(row, (character = ' ') => character).join(''))
}
