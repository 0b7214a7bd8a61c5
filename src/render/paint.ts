// Colour, which only ever repeats what a sign or a word already says.

export type Paint = Readonly<Record<keyof typeof CODES, (text: string) => string>>

/** SGR parameters: on, off. */
const CODES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const

const wrap =
  ([on, off]: readonly [number, number]) =>
  (text: string): string =>
    `\u001b[${on}m${text}\u001b[${off}m`
const plain = (text: string): string => text

/** Functions that colour text, or leave it as it is. */
export function paint(color: boolean): Paint {
  const style = (name: keyof typeof CODES) => (color ? wrap(CODES[name]) : plain)
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  }
}
