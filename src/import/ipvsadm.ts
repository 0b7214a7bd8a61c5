// `ipvsadm -S -n`, the commands that restore the table, and `ipvsadm -L -n`, the table for people → services. Formats:
// ipvsadm(8). IPVS checks no server, so that the services have no health checks.

import { XdpError } from '../diagnostics.ts'
import { parseAddress } from '../model/text.ts'
import { servicesOf } from './ipvs.ts'
import { Differences, type Method, type RealServer, UDP_TIMEOUT, type VirtualServer } from './ipvs-model.ts'
import { bufferOf, excerpt, type Imported, type Input, linePlace, lookUp, type Place } from './source.ts'

/** A virtual server while its lines are read. */
interface Draft {
  readonly virtual: Omit<VirtualServer, 'servers'> & { readonly servers: RealServer[] }
  /** As written, to find it for its servers. */
  readonly key: string
  /** Why it cannot be a service. */
  problem: { readonly place: Place; readonly message: string } | undefined
}

function notFrom(place: Place, line: string, message = `ipvsadm prints no such line: ${excerpt(line)}`): XdpError {
  const at = { file: place.file ?? place.text, line: place.line ?? 1, column: 1, length: 1 }
  const hint = 'pass the output of `ipvsadm -S -n`'
  return new XdpError([{ code: 'E400', severity: 'error', message, hint, at }])
}

interface Endpoint {
  readonly address: NonNullable<ReturnType<typeof parseAddress>>
  readonly port: number
}

/** `192.0.2.1:80`, `[2001:db8::1]:80`, or an address alone. Throws E400 for names. */
function endpointOf(text: string, place: Place, line: string): Endpoint {
  const [, bracketed, dotted, port = '0'] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const address = parseAddress(bracketed ?? dotted ?? text)
  if (address !== undefined && Number(port) <= 65_535) return { address, port: Number(port) }
  throw notFrom(place, line, `${excerpt(text)} is not an address with a port; with -n ipvsadm prints numbers`)
}

/** Options with a value, by every name. */
const OPTIONS: Readonly<Record<string, string>> = {
  '-t': 'tcp',
  '--tcp-service': 'tcp',
  '-u': 'udp',
  '--udp-service': 'udp',
  '--sctp-service': 'sctp',
  '-f': 'fwmark',
  '--fwmark-service': 'fwmark',
  '-s': 'scheduler',
  '--scheduler': 'scheduler',
  '-b': 'flags',
  '--sched-flags': 'flags',
  '-M': 'mask',
  '--netmask': 'mask',
  '--pe': 'engine',
  '-r': 'server',
  '--real-server': 'server',
  '-w': 'weight',
  '--weight': 'weight',
  '-x': 'uthreshold',
  '--u-threshold': 'uthreshold',
  '-y': 'lthreshold',
  '--l-threshold': 'lthreshold',
  '--tun-type': 'tunnel',
  '--tun-port': 'tunnelPort',
}

/** Options without a value. */
const SWITCHES: Readonly<Record<string, readonly [key: string, value: string]>> = {
  '-g': ['method', 'dsr'],
  '--gatewaying': ['method', 'dsr'],
  '-i': ['method', 'tunnel'],
  '--ipip': ['method', 'tunnel'],
  '-m': ['method', 'nat'],
  '--masquerading': ['method', 'nat'],
  '-o': ['onePacket', 'yes'],
  '--ops': ['onePacket', 'yes'],
  '-6': ['ipv6', 'yes'],
  '--ipv6': ['ipv6', 'yes'],
  '--tun-nocsum': ['checksum', 'no'],
  '--tun-csum': ['checksum', 'yes'],
  '--tun-remcsum': ['checksum', 'remote'],
}

const COMMANDS: Readonly<Record<string, 'service' | 'server' | 'clear'>> = {
  '-A': 'service',
  '--add-service': 'service',
  '-a': 'server',
  '--add-server': 'server',
  '-C': 'clear',
  '--clear': 'clear',
}

/** An option at the start of `words`, and the number of words that it takes. `-p` may have a value or none. */
function optionAt([word = '', next]: readonly string[]):
  | { readonly key: string; readonly value: string; readonly words: number }
  | undefined {
  const flag = lookUp(SWITCHES, word)
  if (flag) return { key: flag[0], value: flag[1], words: 1 }
  if (word === '-p' || word === '--persistent') {
    const has = next !== undefined && /^\d{1,10}$/.test(next)
    return { key: 'persistence', value: has ? next : '300', words: has ? 2 : 1 }
  }
  const key = lookUp(OPTIONS, word)
  return key === undefined || next === undefined ? undefined : { key, value: next, words: 2 }
}

/** The options of a command; undefined if there is an unknown one. */
function optionsOf(written: readonly string[]): ReadonlyMap<string, string> | undefined {
  const found = new Map<string, string>()
  // `--weight=1` is like `--weight 1`.
  let words = written.flatMap((word) => (word.startsWith('--') ? word.split(/=(.*)/s).slice(0, 2) : [word]))
  while (words.length > 0) {
    const option = optionAt(words)
    if (option === undefined) return undefined
    found.set(option.key, option.value)
    words = words.slice(option.words)
  }
  return found
}

const PROTOCOLS = ['tcp', 'udp', 'sctp', 'fwmark'] as const

/** Reads lines of both formats into virtual servers. */
class TableReader {
  readonly differences = new Differences()
  readonly #drafts: Draft[] = []

  virtuals(): VirtualServer[] {
    return this.#drafts.flatMap(({ virtual, problem }) => {
      if (problem === undefined) return [virtual]
      this.differences.elsewhere('services', problem.place, `left out: ${problem.message}`)
      return []
    })
  }

  /** Adds a virtual server. `name`: protocol and address as printed. */
  #add(key: string, place: Place, endpoint: Endpoint | undefined, options: ReadonlyMap<string, string>): void {
    const protocol = PROTOCOLS.find((one) => key.startsWith(`${one} `)) ?? 'tcp'
    const problem =
      endpoint === undefined
        ? 'a service takes packets by address and port, not by firewall mark'
        : protocol === 'sctp'
          ? 'services are for TCP and UDP'
          : options.has('engine')
            ? 'a service does not recognise clients by their SIP calls'
            : undefined
    const mask = options.get('mask')
    if (mask !== undefined && !['255.255.255.255', '128', '32'].includes(mask) && problem === undefined) {
      this.differences.elsewhere(
        'persistence',
        place,
        `persistence is for single clients, not for networks of mask ${excerpt(mask)}`,
      )
    }
    const persistence = options.get('persistence')
    const virtual = {
      place,
      vip: endpoint?.address ?? { family: 4 as const, words: Uint32Array.of(0) },
      port: endpoint?.port ?? 0,
      protocol: protocol === 'udp' ? ('udp' as const) : ('tcp' as const),
      scheduler: options.get('scheduler') ?? 'wlc',
      flags: options.get('flags')?.split(',') ?? [],
      persistence: persistence === undefined ? undefined : Number(persistence),
      isOnePacket: options.has('onePacket'),
      udpTimeout: UDP_TIMEOUT,
      servers: [],
      sorry: undefined,
      quorum: 1,
    }
    this.#drafts.push({ virtual, key, problem: problem === undefined ? undefined : { place, message: problem } })
  }

  #addServer(draft: Draft, place: Place, { address, port }: Endpoint, weight: number, method: Method | string): void {
    if (typeof method === 'string') draft.problem ??= { place, message: method }
    else draft.virtual.servers.push({ place, address, port, weight, method, health: undefined })
  }

  /** A line of `ipvsadm -S -n`. */
  readCommand(line: string, place: Place): void {
    const words = line.trim().split(/\s+/)
    if (words[0] === 'ipvsadm') words.shift()
    const command = lookUp(COMMANDS, words[0] ?? '')
    const options = optionsOf(words.slice(1))
    if (command === undefined || options === undefined) throw notFrom(place, line)
    if (command === 'clear') return
    const protocol = PROTOCOLS.find((one) => options.has(one))
    if (protocol === undefined) throw notFrom(place, line)
    const name = options.get(protocol) as string
    const key = `${protocol} ${name}${options.has('ipv6') ? ' 6' : ''}`
    if (command === 'service') {
      this.#add(key, place, protocol === 'fwmark' ? undefined : endpointOf(name, place, line), options)
      return
    }
    const draft = this.#drafts.find((one) => one.key === key)
    const server = options.get('server')
    const weight = options.get('weight') ?? '1'
    if (draft === undefined || server === undefined || !/^\d{1,10}$/.test(weight)) throw notFrom(place, line)
    for (const threshold of ['uthreshold', 'lthreshold']) {
      const message = `the ${threshold} is left out: a backend has no limit of connections`
      if ((options.get(threshold) ?? '0') !== '0' && !draft.problem)
        this.differences.elsewhere('thresholds', place, message)
    }
    this.#addServer(draft, place, endpointOf(server, place, line), Number(weight), methodOf(options))
  }

  /** A line of `ipvsadm -L -n` after its heads. */
  readRow(line: string, place: Place): void {
    const [, protocol, name = '', rest = ''] = /^(TCP|UDP|SCTP|FWM)\s+(\S+)(.*)$/.exec(line) ?? []
    if (protocol !== undefined) {
      const isMark = protocol === 'FWM'
      const key = `${isMark ? 'fwmark' : protocol.toLowerCase()} ${name}`
      this.#add(key, place, isMark ? undefined : endpointOf(name, place, line), attributesOf(rest, place, line))
      return
    }
    const [, server, forward = '', weight = ''] = /^\s+->\s+(\S+)\s+(\w+)\s+(\d+)\s+\d+\s+\d+/.exec(line) ?? []
    const draft = this.#drafts.at(-1)
    if (server === undefined || draft === undefined) throw notFrom(place, line)
    const method = lookUp(ROW_METHODS, forward)
    if (method === undefined) throw notFrom(place, line)
    if (forward === 'Tunnel' && !draft.problem)
      this.differences.approximated(
        place,
        'this format does not say how the tunnel encapsulates; taken as ipip. `ipvsadm -S -n` does',
      )
    this.#addServer(draft, place, endpointOf(server, place, line), Number(weight), method)
  }
}

/** Forwarding as `ipvsadm -L` prints it; a text if no service has it. */
const ROW_METHODS: Readonly<Record<string, Method | string>> = {
  Masq: { kind: 'nat', guePort: undefined },
  Route: { kind: 'dsr', guePort: undefined },
  Tunnel: { kind: 'ipip', guePort: undefined },
  Local: 'a backend cannot be this host itself',
  Bypass: 'packets to a cache in front of other hosts are no service',
}

/** `wlc (sh-port) persistent 300 mask 255.255.255.0 pe sip ops` as the options of a command. */
function attributesOf(text: string, place: Place, line: string): ReadonlyMap<string, string> {
  const [, v6 = '', scheduler = '', rest = ''] = /^(\s+IPv6)?\s+(\S+)(.*)$/.exec(text) ?? []
  const found = new Map([['scheduler', scheduler], ...(v6 === '' ? [] : [['ipv6', 'yes'] as const])])
  const words = rest.trim() === '' ? [] : rest.trim().split(/\s+/)
  while (words.length > 0) {
    const word = words.shift() as string
    if (/^\(.*\)$/.test(word)) found.set('flags', word.slice(1, -1))
    else if (word === 'ops') found.set('onePacket', 'yes')
    else if (word === 'persistent' && /^\d+$/.test(words[0] ?? '')) found.set('persistence', words.shift() as string)
    else if ((word === 'mask' || word === 'pe') && words.length > 0)
      found.set(word === 'pe' ? 'engine' : 'mask', words.shift() as string)
    else throw notFrom(place, line)
  }
  return found
}

/** The method of a server in a command; a text if no service has it. Without an option, ipvsadm takes -g. */
function methodOf(options: ReadonlyMap<string, string>): Method | string {
  const kind = options.get('method') ?? 'dsr'
  if (kind === 'nat' || kind === 'dsr') return { kind, guePort: undefined }
  const tunnel = options.get('tunnel') ?? 'ipip'
  if (tunnel === 'ipip' || tunnel === 'gre') return { kind: tunnel, guePort: undefined }
  const port = Number(options.get('tunnelPort'))
  if (tunnel === 'gue' && Number.isInteger(port) && port > 0 && port <= 65_535) return { kind: 'gue', guePort: port }
  return `the tunnel ${excerpt(tunnel)} is unknown`
}

/** The first line of `ipvsadm -L`, and its two lines about columns. */
const HEAD = /^IP Virtual Server version /
const COLUMNS = [
  /^Prot LocalAddress:Port Scheduler Flags$/,
  /^\s+-> RemoteAddress:Port\s+Forward Weight ActiveConn InActConn$/,
]

/** The services of a table. Throws E400 for a line that ipvsadm does not print. */
export function importIpvsadm(input: Input): Imported {
  const reader = new TableReader()
  const lines = bufferOf(input).toString('utf8').split(/\r?\n/)
  let isTable = false
  for (const [index, line] of lines.entries()) {
    const place = linePlace(input.name, index + 1)
    if (line.trim() === '' || /^\s*#/.test(line)) continue
    if (HEAD.test(line)) isTable = true
    else if (!isTable) reader.readCommand(line, place)
    else if (!COLUMNS.some((column) => column.test(line.trimEnd()))) reader.readRow(line, place)
  }
  const services = servicesOf(reader.virtuals(), reader.differences)
  return {
    interfaces: [],
    default: 'pass',
    lists: [],
    services,
    leftOut: reader.differences.all(),
    refusal: reader.differences.refusal(input.ignore ?? []),
  }
}
