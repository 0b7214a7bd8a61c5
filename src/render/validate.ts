// Renders the summary of a valid file as text and as JSON (schemas/validate.schema.json).

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired, Feed } from '../model/desired.ts'
import { plural } from '../model/numbers.ts'
import { decides } from '../model/rate-sources.ts'
import { type List, listPrefixes, type State } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'
import { diagnosticsJson } from './diagnostic.ts'
import { jsonDocument } from './json.ts'
import { policyJson } from './policy.ts'
import { rateLimitJson } from './rate-limit.ts'
import { portJson, protocolJson } from './service-json.ts'

function servicesText({ services }: State): string {
  const backends = [...services.values()].reduce((sum, service) => sum + service.backends.length, 0)
  return `${plural(services.size, 'service')} with ${plural(backends, 'backend')}`
}

/** The sources of rate limits, as far as they are read as lists are. */
function sourcesText({ lists }: State): string {
  const prefixes = prefixesOf([...lists.values()].filter((list) => !decides(list)))
  return prefixes === 0 ? '' : ` with ${plural(prefixes, 'prefix', 'prefixes')}`
}

const prefixesOf = (lists: readonly List[]): number => lists.reduce((sum, list) => sum + listPrefixes(list), 0)

export function renderValidate({ config, state }: Desired): string {
  const lists = [...state.lists.values()].filter(decides)
  const parts = [
    plural(state.interfaces.size, 'interface'),
    `${plural(lists.length, 'list')} with ${plural(prefixesOf(lists), 'prefix', 'prefixes')}`,
    ...(state.rateLimits ? [`${plural(state.rateLimits.size, 'rate limit')}${sourcesText(state)}`] : []),
    ...(state.services.size > 0 ? [servicesText(state)] : []),
    `default ${state.policy?.default ?? 'pass'}`,
  ]
  return `${config.path} is valid: ${parts.join(', ')}.\n`
}

/** The counts of every list file. */
const feedsJson = (feeds: readonly Feed[]) =>
  feeds.flatMap(({ list, files }) =>
    files.map(({ path, format, entries, skipped, private: ownNetworks, wide, updatedAt, notes }) => ({
      list,
      path,
      format,
      entries,
      skipped,
      left_out: { private: ownNetworks, wide },
      updated_at: updatedAt,
      notes,
    })),
  )

export function renderValidateJson({ config, state, feeds }: Desired, warnings: readonly Diagnostic[]): string {
  const byName = (left: { readonly name: string }, right: { readonly name: string }): number =>
    left.name < right.name ? -1 : 1
  return jsonDocument({
    valid: true,
    config,
    interfaces: [...state.interfaces.values()].map(({ interface: name, modes }) => ({ name, modes })).sort(byName),
    policy: policyJson(state.policy, state.services.size > 0),
    lists: [...state.lists.values()]
      .map((list) => ({ name: list.name, kind: list.kind, prefixes: listPrefixes(list) }))
      .sort(byName),
    rate_limits: [...(state.rateLimits?.values() ?? [])].map(rateLimitJson),
    services: [...state.services.values()].map((service) => ({
      name: service.name,
      vip: formatAddress(service.vip.family, service.vip.words),
      port: portJson(service),
      protocol: protocolJson(service),
      forwarding: service.forwarding,
      backends: service.backends.length,
    })),
    feeds: feedsJson(feeds),
    warnings: diagnosticsJson(warnings),
  })
}
