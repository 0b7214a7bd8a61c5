// Values in the JSON of nft: libnftables-json(5).

export type Json = unknown
export type Fields = Readonly<Record<string, Json>>

export const fieldsOf = (value: Json): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}

/** The single key of an expression, and its content. */
export function only(value: Json): readonly [key: string, content: Json] {
  const [entry] = Object.entries(fieldsOf(value))
  return entry ?? ['', undefined]
}

/** An element without its timeout, comment and counter. */
export function bare(element: Json): Json {
  const { elem } = fieldsOf(element)
  return elem === undefined ? element : fieldsOf(elem)['val']
}
