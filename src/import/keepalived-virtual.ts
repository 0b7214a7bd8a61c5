// The block of a virtual server in keepalived.conf, read statement by statement. Keywords: keepalived.conf(5),
// "Virtual server(s)".

import { parseAddress } from '../model/text.ts'
import type { Differences, Method, RealServer, VirtualServer } from './ipvs-model.ts'
import { checkOf, isChecker } from './keepalived-checks.ts'
import { DEFAULTS, noteWithoutEffect, type Settings, whole, withSetting } from './keepalived-settings.ts'
import type { Statement } from './keepalived-text.ts'
import { excerpt, lookUp, type Place } from './source.ts'

const PORTS = 65_535
const WEIGHTS = 65_535

/** Settings of the whole configuration. */
export interface Globals {
  readonly udpTimeout: number
  readonly scriptUser: string | undefined
}

/** `NAT`, `DR`, `TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]`; undefined for anything else. */
function methodOf([kind = '', ...options]: readonly string[]): Method | undefined {
  const plain = { NAT: 'nat', DR: 'dsr' } as const
  const upper = kind.toUpperCase()
  if (upper === 'NAT' || upper === 'DR') return { kind: plain[upper], guePort: undefined }
  if (upper !== 'TUN') return undefined
  const type = options[0] === 'type' ? options[1] : 'ipip'
  if (type === 'ipip' || type === 'gre') return { kind: type, guePort: undefined }
  const port = whole(options[options.indexOf('port') + 1], PORTS)
  return type === 'gue' && options.includes('port') && port ? { kind: 'gue', guePort: port } : undefined
}

const NAT: Method = { kind: 'nat', guePort: undefined }

/** Flags of schedulers that have a keyword. */
const FLAGS = new Set(['flag-1', 'flag-2', 'flag-3', 'sh-port', 'sh-fallback', 'mh-port', 'mh-fallback'])

/** The first two flags of a scheduler by number: net/netfilter/ipvs, IP_VS_SVC_F_SCHED_SH_PORT and _MH_PORT. */
const NUMBERED: Readonly<Record<string, readonly string[]>> = {
  sh: ['sh-fallback', 'sh-port'],
  mh: ['mh-fallback', 'mh-port'],
}

/** The block of a real server. */
interface RealBlock {
  readonly settings: Settings
  readonly weight: number
  readonly method: Method
  readonly checkers: readonly Statement[]
}

/** The block of a virtual server while it is read. */
export class VirtualDraft {
  readonly #differences: Differences
  readonly #globals: Globals
  /** Why the virtual server cannot be imported. */
  readonly problems: { readonly place: Place; readonly message: string }[] = []
  #settings: Settings = DEFAULTS
  #scheduler = 'wlc'
  #method = NAT
  #protocol: 'tcp' | 'udp' | undefined
  #persistence: number | undefined
  #isOnePacket = false
  #quorum = 1
  readonly #flags: string[] = []
  readonly #servers: Statement[] = []
  #sorry: Statement | undefined
  #sorryMethod: Method | undefined

  constructor(differences: Differences, globals: Globals) {
    this.#differences = differences
    this.#globals = globals
  }

  #problem(place: Place, message: string): void {
    this.problems.push({ place, message })
  }

  read(statement: Statement): void {
    const { words, place } = statement
    const [keyword, value = ''] = words
    const changed = withSetting(this.#settings, statement, this.#differences)
    if (changed) this.#settings = changed
    else if (FLAGS.has(keyword)) this.#flags.push(keyword)
    else if (!this.#readOwn(keyword, value, statement)) {
      this.#problem(place, `${excerpt(words.join(' '))} is not understood`)
    }
  }

  /** Returns false for an unknown keyword or a bad value. */
  #readOwn(keyword: string, value: string, { words, place, block }: Statement): boolean {
    switch (keyword) {
      case 'lb_algo':
      case 'lvs_sched':
        this.#scheduler = value.toLowerCase()
        return value !== ''
      case 'lb_kind':
      case 'lvs_method':
        return this.#readMethod(words.slice(1))
      case 'protocol':
        return this.#readProtocol(value, place)
      case 'persistence_timeout': {
        const seconds = value === '' ? 360 : whole(value, 2 ** 31)
        this.#persistence = seconds === 0 ? undefined : seconds
        return seconds !== undefined
      }
      case 'persistence_granularity':
        this.#noteGranularity(value, place)
        return true
      case 'persistence_engine':
        this.#problem(place, 'a service does not recognise clients by their SIP calls')
        return true
      case 'ops':
        this.#isOnePacket = true
        return true
      case 'quorum':
        this.#quorum = whole(value, 2 ** 31) ?? 1
        return whole(value, 2 ** 31) !== undefined
      case 'hysteresis':
        this.#differences.approximated(place, 'min_healthy has no hysteresis')
        return true
      case 'sorry_server':
        this.#sorry = { words: ['sorry_server', ...words.slice(1)], place, condition: undefined, block: undefined }
        return true
      case 'sorry_server_lvs_method':
        this.#sorryMethod = methodOf(words.slice(1))
        return this.#sorryMethod !== undefined
      case 'real_server':
        this.#servers.push({ words, place, condition: undefined, block: block ?? [] })
        return true
      default:
        return false
    }
  }

  #readMethod(words: readonly string[]): boolean {
    const method = methodOf(words)
    if (method) this.#method = method
    return method !== undefined
  }

  #readProtocol(value: string, place: Place): boolean {
    const lower = value.toLowerCase()
    if (lower === 'sctp') this.#problem(place, 'services are for TCP and UDP')
    else if (lower !== 'tcp' && lower !== 'udp') return false
    else this.#protocol = lower
    return true
  }

  #noteGranularity(value: string, place: Place): void {
    if (value === '255.255.255.255' || value === '128' || value === '32') return
    const message = `persistence is for single clients, not for networks of mask ${excerpt(value)}`
    this.#differences.elsewhere('persistence', place, message)
  }

  /** The virtual server of one port. `place`: its own, for what it lacks. */
  finish(port: number, place: Place): Omit<VirtualServer, 'place' | 'vip' | 'port' | 'udpTimeout'> {
    if (this.#protocol === undefined) this.#differences.approximated(place, 'without protocol, keepalived takes UDP')
    const sorry = this.#sorry && this.#readServer(this.#sorry, port, this.#sorryMethod ?? this.#method)
    const numbered = lookUp(NUMBERED, this.#scheduler) ?? []
    return {
      protocol: this.#protocol ?? 'udp',
      scheduler: this.#scheduler,
      flags: this.#flags.map((flag) => numbered[Number(/^flag-(\d)$/.exec(flag)?.[1]) - 1] ?? flag),
      persistence: this.#persistence,
      isOnePacket: this.#isOnePacket,
      quorum: this.#quorum,
      sorry,
      servers: this.#servers.flatMap((server) => this.#readServer(server, port, this.#method) ?? []),
    }
  }

  #readServer({ words, place, block = [] }: Statement, virtualPort: number, standard: Method): RealServer | undefined {
    const [, address = '', port = '0'] = words
    const parsed = parseAddress(address)
    const number = whole(port, PORTS)
    if (parsed === undefined || number === undefined) {
      this.#problem(place, `${excerpt(words.join(' '))} is not an address with a port`)
      return undefined
    }
    const read = this.#readBlock(block, standard)
    const { settings, weight, method } = read
    const receives = number === 0 ? virtualPort : number
    const standardPort = method.kind === 'nat' ? receives : virtualPort
    const { scriptUser } = this.#globals
    const checked = { address: parsed, port: receives, standardPort: standardPort || undefined, settings, scriptUser }
    const health = checkOf(read.checkers, checked, this.#differences)
    return { place, address: parsed, port: number, weight, method, health }
  }

  /** The block of a real server. */
  #readBlock(block: readonly Statement[], standard: Method): RealBlock {
    let [settings, weight, method] = [this.#settings, 1, standard]
    const checkers: Statement[] = []
    for (const statement of block) {
      const [keyword, value = ''] = statement.words
      const changed = withSetting(settings, statement, this.#differences)
      const own = keyword === 'lvs_method' || keyword === 'lb_kind' ? methodOf(statement.words.slice(1)) : undefined
      if (changed) settings = changed
      else if (keyword === 'weight' && whole(value, WEIGHTS) !== undefined) weight = Number(value)
      else if (own) method = own
      else if (isChecker(keyword)) checkers.push(statement)
      else if (keyword === 'uthreshold' || keyword === 'lthreshold')
        this.#noteThreshold(keyword, value, statement.place)
      else if (!noteWithoutEffect(statement, this.#differences)) {
        this.#problem(statement.place, `${excerpt(statement.words.join(' '))} of a real server is not understood`)
      }
    }
    return { settings, weight, method, checkers }
  }

  #noteThreshold(keyword: string, value: string, place: Place): void {
    const message = `${keyword} is left out: a backend has no limit of connections`
    if (value !== '0') this.#differences.elsewhere('thresholds', place, message)
  }
}
