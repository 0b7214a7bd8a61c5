// keepalived.conf → services: virtual servers, their groups, real servers and checks. VRRP, which moves addresses between
// hosts, is no part of a config: it stays with keepalived. Format: keepalived.conf(5).

import { XdpError } from '../diagnostics.ts'
import type { Address } from '../model/address.ts'
import { compareAddresses, parseAddress, parseRange } from '../model/text.ts'
import { servicesOf } from './ipvs.ts'
import { Differences, UDP_TIMEOUT, type VirtualServer } from './ipvs-model.ts'
import { whole } from './keepalived-settings.ts'
import { readStatements, type Statement } from './keepalived-text.ts'
import { type Globals, VirtualDraft } from './keepalived-virtual.ts'
import { excerpt, type Imported, type ImportedInterface, type Input, type Place } from './source.ts'

/** Words at the start of top-level statements, and why they have no part in a config. */
const BESIDE: readonly (readonly [start: RegExp, why: string])[] = [
  [/^(?:global_defs|SSL|process_names|net_namespace|namespace_with_ipsets|instance|use_pid_dir|child_wait_time)$/, ''],
  [/^vrrp_|^garp_group$/, 'a config does not move addresses between hosts; keep keepalived for that'],
  [/^static_/, 'a config adds no addresses, routes and rules'],
  [/^(?:track_|bfd_|linkbeat)/, 'it serves VRRP and checks that a config does not have'],
  [/^(?:lvs_|checker_|bfd|script_user|enable_script_security)/, ''],
]

/** Most addresses of one range of a group. */
const MOST_ADDRESSES = 1024

const PORTS = 65_535

/** An address and port of a virtual server. */
interface Endpoint {
  readonly place: Place
  readonly vip: Address
  readonly port: number
}

class Reader {
  readonly differences = new Differences()
  readonly #statements: readonly Statement[]
  readonly #globals: Globals

  constructor(statements: readonly Statement[]) {
    this.#statements = statements
    this.#globals = this.#readGlobals()
  }

  /** The virtual servers, those of groups one by one. */
  virtuals(): VirtualServer[] {
    return this.#statements.flatMap((statement) => {
      const [keyword] = statement.words
      if (keyword === 'virtual_server') return this.#readVirtual(statement)
      if (keyword !== 'virtual_server_group') this.#noteBeside(statement)
      return []
    })
  }

  /** Interfaces on which VRRP has its addresses: clients arrive there. */
  interfaces(): readonly ImportedInterface[] {
    const names = this.#statements
      .filter(({ words }) => words[0] === 'vrrp_instance')
      .flatMap(({ block = [] }) => block.flatMap(({ words }) => (words[0] === 'interface' ? [words[1] ?? ''] : [])))
    return [...new Set(names)].filter((name) => name !== '').map((name) => ({ name, mode: undefined }))
  }

  /** Whether any statement is one of keepalived. */
  isKeepalived(): boolean {
    return this.#statements.some(
      ({ words: [keyword] }) => keyword.startsWith('virtual_server') || BESIDE.some(([start]) => start.test(keyword)),
    )
  }

  #readGlobals(): Globals {
    let [udpTimeout, scriptUser] = [UDP_TIMEOUT, undefined as string | undefined]
    const defined = this.#statements
      .filter(({ words }) => words[0] === 'global_defs')
      .flatMap(({ block = [] }) => block)
    for (const { words, place } of [...defined, ...this.#statements]) {
      const [keyword, ...values] = words
      const seconds = whole(values[values.indexOf('udp') + 1], 14_400)
      if (keyword === 'lvs_timeouts' && values.includes('udp') && seconds) udpTimeout = seconds
      if (keyword === 'script_user') scriptUser = values[0]
      if (keyword === 'lvs_sync_daemon')
        this.differences.left(place, 'connections are not synchronised with another balancer; all compute equal tables')
    }
    return { udpTimeout, scriptUser }
  }

  #noteBeside({ words, place }: Statement): void {
    const [keyword, name = ''] = words
    const known = BESIDE.find(([start]) => start.test(keyword))
    const reason = known ? known[1] : 'the keyword is unknown'
    if (reason !== '') this.differences.left(place, `${excerpt(`${keyword} ${name}`.trim())} is left out: ${reason}`)
  }

  /** Reports a statement without which a virtual server would send packets elsewhere; the virtual server is left out. */
  #refuse(place: Place, message: string): void {
    this.differences.elsewhere('services', place, `left out: ${message}`)
  }

  #endpoint(words: readonly string[], place: Place): readonly Endpoint[] | undefined {
    const [address = '', port = '0', ...others] = words
    const number = whole(port, PORTS)
    const single = parseAddress(address)
    const range = single ? undefined : rangeOf(address)
    if (number === undefined || others.length > 0 || (single ?? range) === undefined) {
      this.#refuse(place, `${excerpt(words.join(' '))} is not an address with a port`)
      return undefined
    }
    if (single) return [{ place, vip: single, port: number }]
    return (range as readonly Address[]).map((vip) => ({ place, vip, port: number }))
  }

  #endpointsOf({ words, place }: Statement): readonly Endpoint[] | undefined {
    const [, first = '', second = ''] = words
    if (first === 'fwmark') {
      this.#refuse(place, 'a service takes packets by address and port, not by firewall mark')
      return undefined
    }
    if (first !== 'group') return this.#endpoint(words.slice(1), place)
    const groups = this.#statements.filter(
      ({ words: [keyword, name] }) => keyword === 'virtual_server_group' && name === second,
    )
    if (groups.length === 0) {
      this.#refuse(place, `there is no virtual_server_group ${excerpt(second)}`)
      return undefined
    }
    return groups.flatMap(({ block = [] }) =>
      block.flatMap((member) => {
        if (this.#isConditional(member)) return []
        if (member.words[0] !== 'fwmark') return this.#endpoint(member.words, member.place) ?? []
        this.#refuse(member.place, 'a service takes packets by address and port, not by firewall mark')
        return []
      }),
    )
  }

  #isConditional({ condition, place }: Statement): boolean {
    if (condition !== undefined) this.#refuse(place, `the line counts on some hosts only (${condition})`)
    return condition !== undefined
  }

  #readVirtual(statement: Statement): VirtualServer[] {
    const block = statement.block ?? []
    if (everything(statement).some((one) => this.#isConditional(one))) return []
    const endpoints = this.#endpointsOf(statement)
    if (endpoints === undefined) return []
    const draft = new VirtualDraft(this.differences, this.#globals)
    for (const one of block) draft.read(one)
    const found = endpoints.map((endpoint) => ({
      ...draft.finish(endpoint.port, statement.place),
      ...endpoint,
      place: endpoints.length === 1 ? statement.place : endpoint.place,
      udpTimeout: this.#globals.udpTimeout,
    }))
    for (const { place, message } of draft.problems) this.#refuse(place, message)
    return draft.problems.length > 0 ? [] : found
  }
}

/** A statement with all inside of it. */
const everything = (statement: Statement): Statement[] => [statement, ...(statement.block ?? []).flatMap(everything)]

/** `192.0.2.3-10`, a range or a prefix as addresses; undefined for anything else, and for too many. */
function rangeOf(text: string): readonly Address[] | undefined {
  const [, head = '', first = '', last = ''] = /^(.*[.:])([0-9a-fA-F]{1,4})-([0-9a-fA-F]{1,4})$/.exec(text) ?? []
  const range = parseRange(last === '' ? text : `${head}${first}-${head}${last}`)
  if (range === undefined) return undefined
  const found: Address[] = []
  const words = range.start.slice()
  while (compareAddresses(words, range.end) <= 0) {
    if (found.push({ family: range.family, words: words.slice() }) > MOST_ADDRESSES) return undefined
    const low = words.length - 1
    words[low] = (words[low] as number) + 1
    if (words[low] === 0) break
  }
  return found
}

/** The services of a configuration. Throws E400 for any other text, E411 for text that cannot be expanded. */
export function importKeepalived(input: Input): Imported {
  const reader = new Reader(readStatements(input))
  if (!reader.isKeepalived()) {
    const message = 'the input is not a configuration of keepalived'
    const at = { file: input.name, line: 1, column: 1, length: 1 }
    throw new XdpError([{ code: 'E400', severity: 'error', message, hint: 'pass a keepalived.conf', at }])
  }
  const services = servicesOf(reader.virtuals(), reader.differences)
  return {
    interfaces: reader.interfaces(),
    default: 'pass',
    lists: [],
    services,
    leftOut: reader.differences.all(),
    refusal: reader.differences.refusal(input.ignore ?? []),
  }
}
