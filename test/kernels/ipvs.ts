// Judges an import by the kernel's own balancer: keepalived interprets a configuration, IPVS forwards connections, and
// the guest prints the table. The imports of the configuration and of the table must be equal, and connections must have
// the shares that the imported services give by the reference model of the balancer.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../src/config/load.ts'
import { compose } from '../../src/import/document.ts'
import { importFrom } from '../../src/import/import.ts'
import type { Imported, ImportedService, SourceName } from '../../src/import/source.ts'
import type { Service } from '../../src/model/service.ts'
import { formatAddress, parseAddress } from '../../src/model/text.ts'
import { backendFor } from '../../src/semantics/balance.ts'
import { flowHash } from '../../src/semantics/flow-hash.ts'

const server = (last: number, port: number, weight: number): string => `
  real_server 10.95.0.${last} ${port} {
    weight ${weight}
    HTTP_GET {
      url {
        path /index.html
        status_code 200
      }
      connect_timeout 20
    }
  }`

const virtual = (port: number, settings: string, ...weights: readonly number[]): string => `
virtual_server 192.0.2.10 ${port} {
  delay_loop 3
  retry 1
  delay_before_retry 1
  lb_kind NAT
  protocol TCP
  ${settings}
${weights.map((weight, i) => server(11 + i, 8000 + port, weight)).join('')}
}
`

/** Services with the schedulers that an import claims to be like. */
export const CONFIGURATION = [
  'global_defs {\n  router_id ipvs\n}\n',
  virtual(80, 'lb_algo wrr\n  sorry_server 10.95.0.99 8080', 3, 2, 1),
  virtual(81, 'lb_algo rr', 5, 1, 2),
  virtual(82, 'lb_algo sh', 1, 1, 2),
  virtual(83, 'persistence_timeout 300', 1, 1),
].join('')

/** Addresses of the clients, each with two connections to each service. */
const CLIENTS = Array.from({ length: 48 }, (_, i) => `10.94.0.${2 + i}`)
const ROUNDS = 2

/** Largest difference of shares. Of 96 independent connections, a share has a deviation of 5 %; of 48 clients, 7 %. */
const TOLERANCE = { five_tuple: 0.15, source: 0.25 } as const

interface Result {
  readonly name: string
  /** undefined: it passed. */
  readonly problem: string | undefined
}

const section = (output: string, name: string): string =>
  new RegExp(`^begin ${name}\\n([\\s\\S]*?)^end$`, 'm').exec(output)?.[1] ?? ''

const imported = (from: SourceName, text: string) =>
  importFrom(from, { name: from, bytes: Buffer.from(text), interfaces: [] })

/** Keys about health, which the kernel's table does not have. */
const ABOUT_HEALTH = ['health', 'fallback', 'sorry', 'min_healthy', 'on_empty']

/** Services as text, one a line, in an order of their own. */
const tableOf = (services: readonly ImportedService[]): string =>
  services
    .map(({ fields }) => {
      const own = Object.entries(fields).filter(([key]) => !ABOUT_HEALTH.includes(key))
      const sorted = own.map(([key, value]) => [
        key,
        Array.isArray(value) ? value.map((one) => JSON.stringify(one)).sort() : value,
      ])
      return JSON.stringify(sorted)
    })
    .sort()
    .join('\n')

function compare(name: string, found: string, wanted: string): Result {
  return { name, problem: found === wanted ? undefined : `\n${found}\nnot\n${wanted}` }
}

/** Connections of each server by service port, from `ipvsadm -L -n --stats --exact`. */
function connectionsOf(text: string): Map<number, Map<string, number>> {
  const found = new Map<number, Map<string, number>>()
  let current = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [, port] = /^TCP\s+192\.0\.2\.10:(\d+)\s/.exec(line) ?? []
    const [, address = '', count] = /^\s+->\s+([\d.]+):\d+\s+(\d+)/.exec(line) ?? []
    if (port !== undefined) {
      current = new Map()
      found.set(Number(port), current)
    } else if (count !== undefined) current.set(address, Number(count))
  }
  return found
}

const HOP = { interface: 'eth0', ifindex: 1, mac: '020000000001', sourceMac: '020000000002', vlan: 0, mtu: 1500 }

/** The only port of a service. */
const portOf = ({ ports: [range] }: Service): number => range?.first ?? 0

/** Connections of each backend by the model, for all clients; source ports as a client takes them, one by one. */
function modelled(service: Service): Map<string, number> {
  const reachable = { ...service, backends: service.backends.map((one) => ({ ...one, nextHop: HOP })) }
  const counts = new Map<string, number>()
  for (let i = 0; i < ROUNDS * CLIENTS.length; i++) {
    const source = parseAddress(CLIENTS[i % CLIENTS.length] as string) as Service['vip']
    const flow = {
      source,
      sourcePort: 32_768 + 2 * i,
      destination: service.vip,
      destinationPort: portOf(service),
      protocol: 6,
    }
    const backend = backendFor(reachable, flowHash(flow, service.hash))
    const { family, words } = (backend as NonNullable<typeof backend>).address
    const address = formatAddress(family, words)
    counts.set(address, (counts.get(address) ?? 0) + 1)
  }
  return counts
}

function judgeShares(service: Service, connections: ReadonlyMap<string, number>): Result[] {
  const { hash } = service
  const name = `port ${portOf(service)}`
  const total = [...connections.values()].reduce((sum, count) => sum + count, 0)
  const expected = ROUNDS * CLIENTS.length
  const ours = modelled(service)
  const shares = [...new Set([...connections.keys(), ...ours.keys()])].map((address) => {
    const [theirs = 0, own = 0] = [connections.get(address), ours.get(address)]
    return { text: `${address} ${theirs} ${own}`, differs: Math.abs(theirs - own) / expected > TOLERANCE[hash] }
  })
  const split = [...connections.values()].some((count) => count % ROUNDS !== 0)
  return [
    {
      name: `${name}: every connection is counted`,
      problem: total === expected ? undefined : `${total} of ${expected}`,
    },
    {
      name: `${name}: shares of connections`,
      problem: shares.some(({ differs }) => differs)
        ? `IPVS and import: ${shares.map(({ text }) => text).join(', ')}`
        : undefined,
    },
    ...(hash === 'source'
      ? [{ name: `${name}: clients stay on their server`, problem: split ? 'some do not' : undefined }]
      : []),
  ]
}

/** The services of an import as commands load them. */
async function loaded(source: Imported): Promise<readonly Service[]> {
  const interfaces = [{ name: 'eth0', mode: undefined }]
  const directory = mkdtempSync(join(tmpdir(), 'xdp-ipvs-'))
  try {
    const path = join(directory, 'xdp.yaml')
    writeFileSync(
      path,
      compose(source, { from: 'keepalived', source: 'in', interfaces, schema: undefined, files: false }).config,
    )
    return [...(await loadConfig(path)).desired.state.services.values()]
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** The results for the output of the guest. */
export async function judge(output: string): Promise<Result[]> {
  const source = imported('keepalived', CONFIGURATION)
  const { services = [] } = source
  const wanted = tableOf(services)
  const results: Result[] = ['saved', 'listed'].map((name) =>
    compare(`the ${name} table`, tableOf(imported('ipvsadm', section(output, name)).services ?? []), wanted),
  )
  const served = /^served (\d+) 1$/m.exec(output)?.[1]
  const all = ROUNDS * CLIENTS.length * services.length
  results.push({ name: 'every connection is served', problem: served === `${all}` ? undefined : `${served} of ${all}` })
  const connections = connectionsOf(section(output, 'statistics'))
  for (const service of await loaded(source))
    results.push(...judgeShares(service, connections.get(portOf(service)) ?? new Map()))
  const [web] = services
  const backends = (web?.fields['backends'] ?? []) as readonly { readonly address: string }[]
  const left = {
    ...web,
    fields: { ...web?.fields, backends: backends.filter(({ address }) => address !== '10.95.0.12') },
  }
  const sorry = { ...web, fields: { ...web?.fields, backends: [web?.fields['sorry']] } }
  for (const [name, one] of [
    ['one-down', left],
    ['all-down', sorry],
  ] as const) {
    const found = imported('ipvsadm', section(output, name)).services ?? []
    results.push(
      compare(`the table with ${name}`, tableOf(found), tableOf([one as ImportedService, ...services.slice(1)])),
    )
  }
  return results
}
