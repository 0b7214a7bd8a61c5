// Colour, which only ever repeats what a sign or a word already says.

import { styleText } from 'node:util'

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

export type Paint = Readonly<Record<Style, (text: string) => string>>

const plain = (text: string): string => text

/** Functions that colour text, or leave it as it is. The caller decides; neither stream nor environment is asked again. */
export function paint(color: boolean): Paint {
  const style = (name: Style) =>
    color ? (text: string): string => styleText(name, text, { validateStream: false }) : plain
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  }
}
