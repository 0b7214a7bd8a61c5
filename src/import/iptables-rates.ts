// Rates in rules of iptables: the matches limit, hashlimit and recent: iptables-extensions(8).

import type { Family } from '../model/address.ts'
import type { RatePer } from '../model/rate-limit.ts'
import type { RateSpec } from './rate-spec.ts'
import { rateSpec, secondsOf, type WrittenRate } from './rates.ts'
import { lookUp } from './source.ts'

/** Options of the matches, as they are read. */
export type RateOptions = Map<string, string>

/** Each with the number of words behind it. */
export const RATE_OPTIONS: Readonly<Record<string, number>> = {
  '--limit': 1,
  '--limit-burst': 1,
  '--hashlimit-above': 1,
  '--hashlimit-upto': 1,
  '--hashlimit': 1,
  '--hashlimit-burst': 1,
  '--hashlimit-mode': 1,
  '--hashlimit-name': 1,
  '--hashlimit-srcmask': 1,
  '--hashlimit-dstmask': 1,
  '--hashlimit-htable-size': 1,
  '--hashlimit-htable-max': 1,
  '--hashlimit-htable-expire': 1,
  '--hashlimit-htable-gcinterval': 1,
  '--set': 0,
  '--remove': 0,
  '--update': 0,
  '--rcheck': 0,
  '--seconds': 1,
  '--hitcount': 1,
  '--name': 1,
  '--mask': 1,
  '--rsource': 0,
  '--rdest': 0,
}

/** The default of both matches. */
const BURST = 5

/** `10/min` as an amount in seconds; undefined for other text, such as a rate of bytes. */
function average(text: string): Pick<WrittenRate, 'amount' | 'unit'> | undefined {
  const [, amount = '', unit = ''] = /^(\d+)(?:\/([a-z]+))?$/.exec(text) ?? []
  const seconds = secondsOf(unit === '' ? 'second' : unit)
  return amount === '' || seconds === undefined ? undefined : { amount: Number(amount), unit: seconds }
}

/** `512kb/s`. */
const isBytes = (text: string): boolean => /^\d+[kmg]?b\/s/.test(text)

const MODES: Readonly<Record<string, RatePer>> = {
  srcip: 'source',
  dstip: 'destination',
  'dstip,dstport': 'service',
}

function ofHashlimit(options: RateOptions, family: Family): RateSpec | undefined {
  const above = options.get('--hashlimit-above')
  const text = above ?? options.get('--hashlimit-upto') ?? options.get('--hashlimit') ?? ''
  const rate = average(text)
  const burst = Number(options.get('--hashlimit-burst') ?? BURST)
  const mode = options.get('--hashlimit-mode')
  const per = mode === undefined ? 'all' : lookUp(MODES, mode)
  if (rate === undefined || per === undefined || isBytes(text)) return undefined
  // A sender is forgotten after as long as the unit of its rate, unless the rule says otherwise.
  const after = Number(options.get('--hashlimit-htable-expire') ?? rate.unit * 1000) / 1000
  const length = options.get(per === 'source' ? '--hashlimit-srcmask' : '--hashlimit-dstmask')
  return rateSpec({
    ...rate,
    name: options.get('--hashlimit-name') ?? '',
    per,
    prefix:
      per === 'all'
        ? undefined
        : family === 4
          ? { v4: Number(length ?? 32), v6: 128 }
          : { v4: 32, v6: Number(length ?? 128) },
    burst,
    over: above !== undefined,
    forgets: { after, evenBusy: false },
  })
}

/** `--update --seconds 60 --hitcount 4`: near to 4 packets in 60 seconds, but it counts what it drops too. */
function ofRecent(options: RateOptions): RateSpec | undefined {
  const [amount, unit] = [Number(options.get('--hitcount')), Number(options.get('--seconds'))]
  if (!(amount >= 1 && unit >= 1) || options.has('--rdest')) return undefined
  const why = 'it remembers when packets came, and a limit only how many'
  const name = options.get('--name') ?? ''
  return rateSpec({ name, per: 'source', prefix: { v4: 32, v6: 128 }, amount, unit, burst: amount, over: true, why })
}

/** The rate that the options of a rule make; undefined if no config can have it. */
export function readRate(module: string, options: RateOptions, family: Family): RateSpec | undefined {
  if (module === 'hashlimit') return ofHashlimit(options, family)
  if (module === 'recent') return ofRecent(options)
  // Without `--limit`: iptables-extensions(8).
  const rate = average(options.get('--limit') ?? '3/hour')
  return rate && rateSpec({ ...rate, burst: Number(options.get('--limit-burst') ?? BURST), over: false })
}
