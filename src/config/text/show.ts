// Formats values of the config for messages.

/** Text in quotes, shortened to at most 60 characters. */
export function quote(text: string): string {
  const characters = [...text.slice(0, 200)]
  return JSON.stringify(characters.length > 60 ? `${characters.slice(0, 59).join('')}…` : text)
}

/** A value for a message: `"tpc"`, `70000`, `a list`. `written` is its source text. */
export function show(value: unknown, written: string): string {
  if (typeof value === 'string') return quote(value)
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  return written.length <= 30 ? written : String(value)
}

/** `a, b or c`. */
export function listed(words: readonly string[], last: 'and' | 'or'): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`
}
