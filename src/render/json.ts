// The common frame of every JSON document.

/** major.minor: a new minor only adds fields; readers ignore fields they do not know and refuse another major. */
export const FORMAT_VERSION = '1.0'

/** One document with `format_version` first and a newline last. Absent values must be given as null. */
export function jsonDocument(fields: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ format_version: FORMAT_VERSION, ...fields }, null, 2)}\n`
}
