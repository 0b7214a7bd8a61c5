// Whether a stream takes colour.

type Environment = Readonly<Record<string, string | undefined>>

/**
 * --no-color and NO_COLOR (https://no-color.org: any value but the empty one) say no; FORCE_COLOR says yes where
 * nobody watches (no with 0 or false); otherwise a terminal that is not dumb takes colour.
 */
export function wantsColor(flags: { readonly 'no-color': boolean }, env: Environment, isTTY: boolean): boolean {
  if (flags['no-color'] || env['NO_COLOR']) return false
  const forced = env['FORCE_COLOR']
  if (forced) return forced !== '0' && forced !== 'false'
  return isTTY && env['TERM'] !== 'dumb'
}
