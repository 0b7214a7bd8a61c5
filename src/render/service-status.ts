// Renders live services as tables and as JSON.

import { formatCount } from '../model/numbers.ts'
import { portsText, protocolsText, withPort } from '../model/service.ts'
import { formatAddress } from '../model/text.ts'
import { hopText } from '../plan/next-hops.ts'
import { settingsOf } from '../plan/services.ts'
import type { BackendStatus, ServiceStatus } from '../report/result.ts'
import { formatSeconds } from './duration.ts'
import { formatBytes } from './numbers.ts'
import { formatShare } from './service.ts'
import { hopJson, portJson, protocolJson } from './service-json.ts'
import { formatTable } from './table.ts'

/** Counters that are shown as a problem unless they are zero. */
const TROUBLE = [
  'empty',
  'unresolved',
  'limited',
  'exhausted',
  'too_big',
] as const satisfies readonly (keyof ServiceStatus)[]

const WORDS: Readonly<Record<(typeof TROUBLE)[number], string>> = {
  empty: 'packets found no backend',
  unresolved: 'times a backend was skipped because its next hop is unknown',
  limited: 'new flows did not enter the flow table because there were too many in a second',
  exhausted: 'packets found no free port in the source pool',
  too_big: 'packets were too large for the path to their backend',
}

function nameOf({ service }: ServiceStatus): string {
  const { vip } = settingsOf(service)
  return `${service.vip.family === 6 ? `[${vip}]` : vip}:${portsText(service)}`
}

export function stateOf({ role, state, weight, health, share, drained_in: left }: BackendStatus): string {
  const keeps = left === undefined ? '' : left === 0 ? ', drained' : `, ${formatSeconds(left)} left`
  if (role === 'sorry' || role === 'leaving') return `${role}${keeps}`
  const of = role === 'backup' ? 'backup, ' : ''
  if (state !== 'active' || weight === 0) return `${of}${state === 'disabled' ? state : 'drain'}${keeps}`
  return health === 'starting' ? `${of}starting, ${formatShare(share)}` : `${of}${health}`
}

export const addressOf = ({ address, port }: BackendStatus): string => withPort(address, port)

function backendRows({ service, backends }: ServiceStatus): string[][] {
  return backends.map((backend) => [
    service.name,
    addressOf(backend),
    formatCount(backend.weight),
    stateOf(backend),
    hopText(backend.next_hop),
    formatCount(backend.flows),
    formatCount(backend.packets),
    formatBytes(backend.bytes),
  ])
}

/** A table of services, one of backends, and a line per problem. No lines without services. */
export function serviceTables(services: readonly ServiceStatus[]): string[] {
  if (services.length === 0) return []
  const left = (title: string) => ({ title })
  const right = (title: string) => ({ title, align: 'right' as const })
  const rows = services.map((status) => [
    status.service.name,
    `${protocolsText(status.service)} ${nameOf(status)}`,
    status.service.forwarding,
    status.mode,
    formatCount(status.flows),
    formatCount(status.packets),
    formatBytes(status.bytes),
  ])
  const counts = [right('FLOWS'), right('PACKETS'), right('BYTES')]
  const backends = services.flatMap(backendRows)
  const trouble = services.flatMap((status) =>
    TROUBLE.filter((name) => status[name] > 0).map(
      (name) => `service ${status.service.name}: ${formatCount(status[name])} ${WORDS[name]}`,
    ),
  )
  return [
    '',
    ...formatTable([left('SERVICE'), left('VIP'), left('FORWARDING'), left('HEALTH'), ...counts], rows),
    ...(backends.length === 0
      ? []
      : [
          '',
          ...formatTable(
            [left('SERVICE'), left('BACKEND'), right('WEIGHT'), left('STATE'), left('NEXT HOP'), ...counts],
            backends,
          ),
        ]),
    ...(trouble.length === 0 ? [] : ['', ...trouble]),
  ]
}

export function serviceStatusJson({ service, backends, ...status }: ServiceStatus) {
  return {
    name: service.name,
    vip: formatAddress(service.vip.family, service.vip.words),
    port: portJson(service),
    protocol: protocolJson(service),
    forwarding: service.forwarding,
    ...status,
    backends: backends.map(({ port, next_hop, drained_in, ...backend }) => ({
      ...backend,
      port: port ?? null,
      next_hop: hopJson(next_hop),
      drained_in: drained_in ?? null,
    })),
  }
}
