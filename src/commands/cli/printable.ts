// The last step before stdout. Files, feeds, bans, and names of processes and interfaces may hold control characters, on which a
// terminal would act; what renders them replaces them too, so this is the net below.

const ESCAPE = String.fromCharCode(27)
const CONTROL = String.raw`(?![\n\t])\p{Cc}`
/** Our own colours (SGR, ECMA-48 §8.3.117) may stay; no other sequence moves a cursor or sets a title. */
const PLAIN = new RegExp(CONTROL, 'gu')
const COLORED = new RegExp(`(?!${ESCAPE}${String.raw`\[[\d;]*m`})${CONTROL}`, 'gu')

/** The text with U+FFFD for each control character but tabs and line feeds. `color`: it may have colours. */
export const printable = (text: string, color: boolean): string => text.replace(color ? COLORED : PLAIN, '\ufffd')
