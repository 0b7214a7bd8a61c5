// Lists of names in warnings.

const MOST_NAMED = 3

/** `a, b, c and 2 more`. */
export function some(texts: readonly string[]): string {
  const more = texts.length > MOST_NAMED ? ` and ${texts.length - MOST_NAMED} more` : ''
  return `${texts.slice(0, MOST_NAMED).join(', ')}${more}`
}

/** `a, b and c`. */
export const listed = (words: readonly string[]): string => new Intl.ListFormat('en-GB').format(words)
