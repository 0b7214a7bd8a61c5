// JSON as a tree in which every value knows its place. JSON.parse, which also checks the syntax, has no places, and keeps
// only one of two equal keys.

/** A value, and the offset of its text. */
export interface Node {
  readonly at: number
  /** The scalar; undefined for lists and mappings. */
  readonly scalar?: string | number | boolean | null
  readonly items?: readonly Node[]
  /** In file order; a key may occur twice. */
  readonly fields?: readonly (readonly [key: string, value: Node])[]
}

/** Deeper than any published list. */
const MAX_DEPTH = 64

const TOKEN = /[\s,:]*("(?:[^"\\]|\\.)*"|[{}[\]]|[^\s,:{}[\]"]+)/gy

/** A text that is no JSON, or too deep; with the offset at which that shows. */
export class NotJson extends Error {
  readonly at: number

  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/** Offset of a syntax error in the text; the end if the message of JSON.parse has none. */
function offsetOf(error: SyntaxError, text: string): number {
  const [, position] = /at position (\d+)/.exec(error.message) ?? []
  return position === undefined ? text.trimEnd().length : Number(position)
}

/** Parses a JSON text. Throws NotJson. */
export function parseJson(text: string): Node {
  try {
    JSON.parse(text)
  } catch (error) {
    throw new NotJson('is not JSON', offsetOf(error as SyntaxError, text))
  }
  TOKEN.lastIndex = 0
  const next = (): { token: string; at: number } => {
    const token = TOKEN.exec(text)?.[1] as string
    return { token, at: TOKEN.lastIndex - token.length }
  }
  const readValue = ({ token, at }: { token: string; at: number }, depth: number): Node => {
    if (depth > MAX_DEPTH) throw new NotJson(`nests deeper than ${MAX_DEPTH} levels`, at)
    if (token === '[') {
      const items: Node[] = []
      for (let one = next(); one.token !== ']'; one = next()) items.push(readValue(one, depth + 1))
      return { at, items }
    }
    if (token === '{') {
      const fields: (readonly [string, Node])[] = []
      for (let key = next(); key.token !== '}'; key = next()) {
        fields.push([JSON.parse(key.token) as string, readValue(next(), depth + 1)])
      }
      return { at, fields }
    }
    return { at, scalar: JSON.parse(token) as string | number | boolean | null }
  }
  return readValue(next(), 0)
}
