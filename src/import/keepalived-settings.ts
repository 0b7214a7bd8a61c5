// Settings that virtual servers, real servers and checks of keepalived have in common: the inner one wins.

import type { Differences } from './ipvs-model.ts'
import type { Statement } from './keepalived-text.ts'

export interface Settings {
  /** Milliseconds. */
  readonly timeout: number | undefined
  readonly retry: number | undefined
  /** Milliseconds. */
  readonly retryDelay: number | undefined
  /** Milliseconds. */
  readonly interval: number
  readonly host: string | undefined
}

/** keepalived.conf(5): 60 seconds if not specified. */
export const DEFAULTS: Settings = {
  timeout: undefined,
  retry: undefined,
  retryDelay: undefined,
  interval: 60_000,
  host: undefined,
}

/** Keywords without an effect on packets, each with the reason to report; empty: there is nothing to report. */
export const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  snmp_name: '',
  ip_family: '',
  nat_mask: '',
  net_mask: '',
  log_all_failures: '',
  warmup: '',
  fast_recovery: '',
  omega: 'no script runs when the daemon stops',
  ha_suspend: 'checks do not depend on the addresses of this host',
  smtp_alert: 'no mail is sent; the daemon logs changes, and has metrics',
  notify_up: 'no script runs; the daemon logs changes, and has metrics',
  notify_down: 'no script runs; the daemon logs changes, and has metrics',
  quorum_up: 'no script runs; the daemon logs changes, and has metrics',
  quorum_down: 'no script runs; the daemon logs changes, and has metrics',
  http_protocol: 'checks use HTTP/1.1',
  sorry_server_inhibit: '',
}

/** A number of seconds in milliseconds, or undefined. */
export function milliseconds(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,9}(?:\.\d+)?$/.test(text)) return undefined
  return Math.max(1, Math.round(Number(text) * 1000))
}

/** A whole number up to `most`, or undefined. */
export function whole(text: string | undefined, most: number): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= most ? Number(text) : undefined
}

const isOn = (text: string | undefined): boolean => text === undefined || /^(?:on|true|yes)$/i.test(text)

/** Reads a statement that is a setting. Returns undefined for any other, and for a value that it cannot have. */
export function withSetting(
  settings: Settings,
  { words, place }: Statement,
  differences: Differences,
): Settings | undefined {
  const [keyword, value] = words
  const set = <K extends keyof Settings>(key: K, read: Settings[K] | undefined): Settings | undefined =>
    read === undefined ? undefined : { ...settings, [key]: read }
  switch (keyword) {
    case 'connect_timeout':
      return set('timeout', milliseconds(value))
    case 'delay_loop':
      return set('interval', milliseconds(value))
    case 'delay_before_retry':
      return set('retryDelay', milliseconds(value))
    case 'retry':
    case 'nb_get_retry':
    case 'nb_sock_retry':
      return set('retry', whole(value, 998))
    case 'virtualhost':
      return set('host', /^[!-~]{1,255}$/.test(value ?? '') ? value : undefined)
    case 'inhibit_on_failure':
      if (isOn(value)) differences.approximated(place, 'connections of a failed backend move to another one')
      return settings
    case 'alpha':
      if (isOn(value)) differences.approximated(place, 'a backend counts as up until its first check has failed')
      return settings
    default:
      return noteWithoutEffect({ words, place }, differences) ? settings : undefined
  }
}

/** Reports a keyword without an effect on packets. Returns whether it is one. */
export function noteWithoutEffect(
  { words, place }: Pick<Statement, 'words' | 'place'>,
  differences: Differences,
): boolean {
  const [keyword] = words
  if (!Object.hasOwn(WITHOUT_EFFECT, keyword)) return false
  const reason = WITHOUT_EFFECT[keyword] as string
  if (reason !== '') differences.left(place, `${keyword} is left out: ${reason}`)
  return true
}
