// A chart as SVG, for light and for dark pages: a few panels side by side with a common scale, both axes logarithmic.

export type Colour = keyof typeof COLOURS

export interface Line {
  readonly name: string
  readonly colour: Colour
  readonly dashed?: boolean
  /** x and y, both above 0; in order of x. */
  readonly points: readonly (readonly [number, number])[]
}

export interface Panel {
  readonly title: string
  readonly lines: readonly Line[]
}

export interface Chart {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly panels: readonly Panel[]
}

const PANEL = { width: 300, height: 300, gap: 40 }
const MARGIN = { left: 64, top: 64, right: 16, bottom: 92 }

/** Each on a light page and on a dark one. */
const COLOURS = {
  blue: ['#0969da', '#58a6ff'],
  red: ['#cf222e', '#ff7b72'],
  violet: ['#8250df', '#bc8cff'],
} as const
const STYLES = {
  ground: ['fill:#ffffff', 'fill:#0d1117'],
  ink: ['fill:#24292f', 'fill:#e6edf3'],
  faint: ['stroke:#d0d7de', 'stroke:#30363d'],
} as const

function styles(): string {
  const colours = Object.entries(COLOURS).map(
    ([name, pair]) => [name, pair.map((colour) => `color:${colour}`)] as const,
  )
  const rules = (page: 0 | 1): string =>
    [...Object.entries(STYLES), ...colours].map(([name, pair]) => `.${name}{${pair[page]}}`).join('')
  const series = 'polyline,.legend{fill:none;stroke:currentColor;stroke-width:2}circle{fill:currentColor}'
  return `<style>${series}${rules(0)}@media(prefers-color-scheme:dark){${rules(1)}}</style>`
}

const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

interface TextStyle {
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly size?: number
  readonly bold?: boolean
  readonly turned?: boolean
}

function text(
  x: number,
  y: number,
  words: string,
  { anchor = 'start', size = 12, bold, turned }: TextStyle = {},
): string {
  const more = `${bold ? ' font-weight="bold"' : ''}${turned ? ` transform="rotate(-90 ${x} ${y})"` : ''}`
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}"${more}>${escapeText(words)}</text>`
}

const rule = (x1: number, y1: number, x2: number, y2: number, style: string, more = ''): string =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${style}"${more}/>`

/** Exponents of the powers of ten that enclose the values. */
function decades(values: readonly number[]): { readonly low: number; readonly high: number } {
  const low = Math.floor(Math.log10(Math.min(...values)) + 1e-9)
  const high = Math.ceil(Math.log10(Math.max(...values)) - 1e-9)
  return { low, high: Math.max(high, low + 1) }
}

const exponents = ({ low, high }: { low: number; high: number }): number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => low + i)

function count(exponent: number): string {
  const value = 10 ** (exponent % 3)
  return exponent < 3 ? `${10 ** exponent}` : `${value}${['k', 'M', 'G'][Math.floor(exponent / 3) - 1]}`
}

const dash = ({ dashed }: Line): string => (dashed ? ' stroke-dasharray="5 4"' : '')
const round = (value: number): number => Math.round(value * 10) / 10

export function drawChart(chart: Chart): string {
  const all = chart.panels.flatMap(({ lines }) => lines.flatMap(({ points }) => points))
  const xs = decades(all.map(([x]) => x))
  const ys = decades(all.map(([, y]) => y))
  const width = MARGIN.left + chart.panels.length * (PANEL.width + PANEL.gap) - PANEL.gap + MARGIN.right
  const height = MARGIN.top + PANEL.height + MARGIN.bottom
  const bottom = MARGIN.top + PANEL.height
  const yAt = (y: number): number => round(bottom - ((Math.log10(y) - ys.low) / (ys.high - ys.low)) * PANEL.height)

  const panels = chart.panels.flatMap(({ title, lines }, number) => {
    const left = MARGIN.left + number * (PANEL.width + PANEL.gap)
    const xAt = (x: number): number => round(left + ((Math.log10(x) - xs.low) / (xs.high - xs.low)) * PANEL.width)
    return [
      text(left + PANEL.width / 2, MARGIN.top - 10, title, { anchor: 'middle', bold: true }),
      ...exponents(ys).map((e) => rule(left, yAt(10 ** e), left + PANEL.width, yAt(10 ** e), 'faint')),
      ...exponents(xs).flatMap((e) => [
        rule(xAt(10 ** e), MARGIN.top, xAt(10 ** e), bottom, 'faint'),
        text(xAt(10 ** e), bottom + 16, count(e), { anchor: 'middle', size: 11 }),
      ]),
      ...lines.flatMap((line) => [
        `<polyline class="${line.colour}"${dash(line)} points="${line.points
          .map(([x, y]) => `${xAt(x)},${yAt(y)}`)
          .join(' ')}"/>`,
        ...line.points.map(([x, y]) => `<circle cx="${xAt(x)}" cy="${yAt(y)}" r="3" class="${line.colour}"/>`),
      ]),
    ]
  })

  // Lines of one name look alike in every panel, so one legend is enough.
  const named = new Map(chart.panels.flatMap(({ lines }) => lines.map((line) => [line.name, line])))
  const step = (width - MARGIN.left - MARGIN.right) / named.size
  const legend = [...named.values()].flatMap((line, i) => {
    const x = round(MARGIN.left + i * step)
    return [
      rule(x, height - 18, x + 26, height - 18, `legend ${line.colour}`, dash(line)),
      text(x + 32, height - 14, line.name),
    ]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" class="ink" role="img" aria-labelledby="t">`,
    `<title id="t">${escapeText(chart.title)}</title>`,
    styles(),
    `<rect width="${width}" height="${height}" class="ground"/>`,
    text(MARGIN.left, 26, chart.title, { size: 15, bold: true }),
    ...exponents(ys).map((e) => text(MARGIN.left - 8, yAt(10 ** e) + 4, `${10 ** e}`, { anchor: 'end', size: 11 })),
    text(18, MARGIN.top + PANEL.height / 2, chart.y, { anchor: 'middle', turned: true }),
    text(MARGIN.left + (width - MARGIN.left - MARGIN.right) / 2, bottom + 38, chart.x, { anchor: 'middle' }),
    ...panels,
    ...legend,
    '</svg>',
    '',
  ].join('\n')
}
