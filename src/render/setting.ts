// One setting of a change, as text.

/** `name: old -> new`, or `name: value` where nothing differs. */
export function setting(name: string, before: string | undefined, after: string | undefined): string {
  if (before === undefined || after === undefined || before === after) return `${name}: ${after ?? before}`
  return `${name}: ${before} -> ${after}`
}

/** For an object that is written again although nothing differs. */
export const SAME = 'rewritten; the content already matches the config'
