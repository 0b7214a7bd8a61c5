// Decides whether a stream gets colour.

type Environment = Readonly<Record<string, string | undefined>>

/**
 * --no-color and NO_COLOR (https://no-color.org: any value but the empty one) turn colour off. FORCE_COLOR turns it on
 * for pipes and files too, with 0 or false off. Otherwise terminals get colour, except dumb ones.
 */
export function wantsColor(flags: { readonly 'no-color': boolean }, env: Environment, isTTY: boolean): boolean {
  if (flags['no-color'] || env['NO_COLOR']) return false
  const forced = env['FORCE_COLOR']
  if (forced) return forced !== '0' && forced !== 'false'
  return isTTY && env['TERM'] !== 'dumb'
}
