// Statistics of paired measurements.

/**
 * The 95 % interval of confidence of a median, by order statistics: the number of values below the median is binomial
 * (n, 1/2), here with its normal approximation. For at least six values.
 */
export function interval(values: readonly number[]): [low: number, high: number] {
  const sorted = [...values].sort((a, b) => a - b)
  const n = sorted.length
  const spread = 1.96 * (Math.sqrt(n) / 2)
  const low = Math.max(0, Math.floor(n / 2 - spread))
  const high = Math.min(n - 1, Math.ceil(n / 2 + spread))
  return [sorted[low] as number, sorted[high] as number]
}
