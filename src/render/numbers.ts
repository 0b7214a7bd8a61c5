// Numbers for people. English and fixed, whatever the locale of the host, so that outputs can be compared.

/** `1204` → `1,204`. */
export const formatCount = (value: number): string => value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',')

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

/** `1 prefix`, `2 prefixes`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

/** Seconds are enough for people: `2026-01-02T03:04:05Z`. */
export const seconds = (time: string): string => time.replace(/\.\d+Z$/, 'Z')
