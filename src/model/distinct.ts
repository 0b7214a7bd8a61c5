// How many different sources a sketch has seen: HyperLogLog of Flajolet, Fusy, Gandouet and Meunier (2007), with linear
// counting for small numbers. Hashes have 64 bits, so that large numbers need no correction.

/**
 * The number of sources that left these ranks, rounded to two digits: the standard error of 256 registers is 6.5 %.
 *
 * @param ranks one byte a register; 0: no source
 */
export function distinctSources(ranks: Uint8Array): number {
  const size = ranks.length
  const sum = ranks.reduce((total, rank) => total + 2 ** -rank, 0)
  const raw = ((0.7213 / (1 + 1.079 / size)) * size * size) / sum
  const empty = ranks.reduce((count, rank) => count + (rank === 0 ? 1 : 0), 0)
  const estimate = raw <= 2.5 * size && empty > 0 ? size * Math.log(size / empty) : raw
  return estimate < 20 ? Math.round(estimate) : Number(estimate.toPrecision(2))
}
