// The common frame of every JSON document.

/** major.minor: a new minor only adds fields; readers ignore fields they do not know and refuse another major. */
export const FORMAT_VERSION = '1.0'

/** Control characters that JSON.stringify leaves as they are: DEL and C1, on which terminals act. */
const RAW = /[\u007f-\u009f]/g

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/** One document with `format_version` first and a newline last. Absent values must be given as null. */
export function jsonDocument(fields: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ format_version: FORMAT_VERSION, ...fields }, null, 2).replace(RAW, escaped)}\n`
}
