// "Did you mean": the known word closest to a mistyped one.

/**
 * Edits (insert, delete, substitute, swap of neighbours) that turn one word into the other: the optimal string
 * alignment distance.
 */
function distance(left: string, right: string): number {
  let before: number[] = []
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1]
      let best = Math.min(
        (previous[column] as number) + 1,
        (current[column - 1] as number) + 1,
        (previous[column - 1] as number) + (same ? 0 : 1),
      )
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      if (swapped) best = Math.min(best, (before[column - 2] as number) + 1)
      current.push(best)
    }
    before = previous
    previous = current
  }
  return previous[right.length] as number
}

/**
 * The candidate closest to `word`, if a typo can explain the difference: at most two edits, and at most a third of the
 * longer word. Case does not count. Ties go to the first candidate.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let found: string | undefined
  let least = 3
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= least) continue
    const edits = distance(word.toLowerCase(), candidate.toLowerCase())
    if (edits < least && edits * 3 <= Math.max(word.length, candidate.length)) [found, least] = [candidate, edits]
  }
  return found
}
