// Live services and rate limits → the keys that a config has for them.

import { FORWARDING_MODES } from '../features/forwarding/forwarding.ts'
import { RATE, type RateLimit } from '../model/rate-limit.ts'
import {
  type Backend,
  DEFAULT_OUTER_SOURCE,
  GUE_PORT,
  isAnyPort,
  onlyPort,
  type Service,
  UDP_TIMEOUT,
} from '../model/service.ts'
import { formatAddress } from '../model/text.ts'
import { addressTexts, type Fields, oneOrList, portsField, scopeFields } from './written-scope.ts'

const text = ({ family, words }: Backend['address']): string => formatAddress(family, words)

function backendFields({ address, port, weight, state, backup, mtu }: Backend): string | Fields {
  const fields = {
    ...(port !== undefined && { port }),
    ...(weight !== 1 && { weight }),
    ...(state !== 'active' && { state }),
    ...(backup && { backup }),
    ...(mtu !== undefined && { mtu }),
  }
  return Object.keys(fields).length === 0 ? text(address) : { address: text(address), ...fields }
}

/** Prefixes from which encapsulated packets come, where they are not the default ones. */
function outerSourceFields({ outerSource: { v4, v6 } }: Service): Fields {
  const own = { v4: `${text(v4.address)}/${v4.length}`, v6: `${text(v6)}/64` }
  const usual = { v4: `${text(DEFAULT_OUTER_SOURCE.v4.address)}/16`, v6: `${text(DEFAULT_OUTER_SOURCE.v6)}/64` }
  const fields = { ...(own.v4 !== usual.v4 && { v4: own.v4 }), ...(own.v6 !== usual.v6 && { v6: own.v6 }) }
  return Object.keys(fields).length === 0 ? {} : { outer_source: fields }
}

/** A sorry backend. A config asks for a health check beside it, which the kernel does not have: one by TCP stands for it. */
function sorryFields(sorry: Backend, service: Service): Fields {
  const { address, port } = sorry
  const { first = 0 } = service.ports[0] ?? {}
  return {
    health: { type: 'tcp', ...(onlyPort(service) === undefined && { port: first || 80 }) },
    fallback: 'sorry',
    sorry: { address: text(address), ...(port !== undefined && { port }) },
  }
}

/** The keys of a service. Those without an effect in its mode of forwarding are left out: a config refuses them. */
export function serviceFields(service: Service): Fields {
  const { vip, protocols, forwarding, scheduler, hash, onEmpty, snatPool, repliesFrom, guePort, sorry } = service
  const { udpTimeout, drainTimeout, mtu, backends } = service
  const { keys } = FORWARDING_MODES[forwarding]
  return {
    vip: text(vip),
    port: isAnyPort(service) ? 'any' : portsField(service.ports),
    protocol: oneOrList(protocols),
    forwarding,
    ...(scheduler !== 'maglev' && { scheduler }),
    ...(hash !== 'five_tuple' && { hash }),
    ...(onEmpty !== 'drop' && { on_empty: onEmpty }),
    ...(snatPool.length > 0 && keys.includes('snat') && { snat: true, snat_pool: snatPool.map(text) }),
    ...(repliesFrom !== 'route' && keys.includes('replies_from') && { replies_from: repliesFrom }),
    ...(guePort !== GUE_PORT && keys.includes('gue_port') && { gue_port: guePort }),
    ...(keys.includes('outer_source') && outerSourceFields(service)),
    ...(udpTimeout !== UDP_TIMEOUT && protocols.includes('udp') && { udp_timeout: `${udpTimeout}s` }),
    ...(drainTimeout !== undefined && { drain_timeout: `${drainTimeout}s` }),
    ...(mtu !== undefined && { mtu }),
    backends: backends.map(backendFields),
    ...(sorry && sorryFields(sorry, service)),
  }
}

const timeText = (milliseconds: number): string =>
  milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`

/** The keys of a limit; undefined: no config has its scope. `listed`: those of its sources, if they are a list. */
export function rateLimitFields(limit: RateLimit, listed: Fields = {}): Fields | undefined {
  const scope = scopeFields(limit.scope)
  if (scope === undefined) return undefined
  const { name, sources, per, prefix, packets, bits, action, ban } = limit
  return {
    name,
    ...(typeof sources === 'object' ? { cidrs: addressTexts(sources) } : listed),
    ...scope,
    ...(per !== 'source' && { per }),
    ...(per !== 'all' && { prefix: { v4: prefix.v4, v6: prefix.v6 } }),
    ...(packets && { packets_per_second: packets.perSecond, burst: packets.burst }),
    ...(bits && { bits_per_second: bits.perSecond, burst_bits: bits.burst }),
    ...(action !== 'drop' && { action }),
    ...(ban && { ban: { for: timeText(ban.forMs), after: timeText(ban.afterMs) } }),
  }
}

/** Buckets of the limits, where a config has to name them. */
export const bucketsOf = (limits: Iterable<RateLimit>): number | undefined => {
  const [first] = limits
  return first && first.buckets !== RATE.buckets.initial ? first.buckets : undefined
}
