// Bounds the depth of parsed JSON: V8 parses any depth, but functions that call themselves would overflow the stack.

/** Several times the depth of a document of xdp. */
const MOST_LEVELS = 64

/** Whether parsed JSON has lists or objects within each other on more than MOST_LEVELS levels. */
export function isTooDeep(value: unknown, levels = MOST_LEVELS): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((one) => isTooDeep(one, levels - 1))
}
