// Numbers in text. Independent of the host's locale, so that outputs can be compared.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Bytes in binary units with three significant digits at most: `812 B`, `1.5 KiB`, `32 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1
  return `${value.toFixed(digits).replace(/\.0$/, '')} ${UNITS[unit]}`
}

/** An ISO 8601 time without fractions: `2026-01-02T03:04:05Z`. */
export const seconds = (time: string): string => time.replace(/\.\d+Z$/, 'Z')

/** `3.1%`; `-` if `whole` is 0. */
export const formatShare = (part: number, whole: number): string =>
  whole === 0 ? '-' : `${((part / whole) * 100).toFixed(1).replace(/\.0$/, '')}%`

const MULTIPLES = ['', 'k', 'M', 'G', 'T', 'P'] as const

/** A rate in three significant digits with SI prefixes, at most six characters: `0`, `0.5`, `12`, `1.23k`, `350M`. */
export function formatRate(rate: number): string {
  let value = rate
  let multiple = 0
  while (value >= 999.5 && multiple < MULTIPLES.length - 1) {
    value /= 1000
    multiple++
  }
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : multiple === 0 ? 1 : 2
  const text = value.toFixed(digits)
  return `${text.includes('.') ? text.replace(/\.?0+$/, '') : text}${MULTIPLES[multiple]}`
}
