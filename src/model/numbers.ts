// Numbers in messages. English and fixed, whatever the locale of the host, so that outputs can be compared.

/** `1204` → `1,204`. */
export const formatCount = (value: number): string => value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',')

/** `6.25%`, rounded down. */
export const percent = (share: number): string => `${Math.floor(share * 10_000) / 100}%`

/** `1 prefix`, `2 prefixes`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}
