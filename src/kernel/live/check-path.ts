// The path of health checks through VIPs (docs/adr/0064). A process in a network namespace makes the connections; a veth
// leads out of it, whose end in this namespace runs xdp_check, which sends packets to backends as the balancer does. The
// filter of the instance sends the answers back, by the map `check_sources`.
//
// Only the addresses in `check_sources` and the pins outlive a killed daemon; the next one removes them, and destroy.

import { createHash } from 'node:crypto'
import { entriesOf, list, optional, record, text } from '../../abi/answer.ts'
import { bpftool, type Command, hexBytes, quiet, updateCommand } from '../../abi/command.ts'
import {
  backendCodec,
  CHECK_FIRST_PORT,
  CHECK_PORTS_A_WAY,
  CHECK_SOURCES,
  CHECK_WAYS,
  checkDeviceCodec,
  checkWayCodec,
  serviceCodec,
} from '../../abi/generated.ts'
import { arrayMap, mapWords, pinPaths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import { HEALTH } from '../../features/health.ts'
import { type Backend, backendSlotKey, type Service } from '../../model/service.ts'
import { formatAddress, parseAddress } from '../../model/text.ts'
import { addressBytes, backendLine, serviceLine } from '../../tables/services/service-lines.ts'
import { type CheckProcess, runInNamespace, startCheckProcess } from '../host/check-process.ts'
import { readSources } from '../host/check-source.ts'
import type { Host } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { askBatch, runParts } from '../tools/bpftool.ts'
import { askIp, runIpBatch } from '../tools/ip.ts'
import { loadObject } from '../tools/object.ts'
import { makeDirectory, removePins } from '../tools/pins.ts'

/** A backend that is checked through the VIP of its service. */
export interface CheckedBackend {
  readonly service: Service
  readonly backend: Backend
}

/** Where a check comes from; or why there can be none, and whether that is a fault of the backend's. */
export type CheckSource =
  | { readonly address: string; readonly port: number }
  | { readonly reason: string; readonly isFault: boolean }

export interface CheckPath {
  /** Prepares checks of these backends, and of no others. Throws XdpError. */
  readonly follow: (backends: readonly CheckedBackend[]) => Promise<void>
  /** The source of the next check of a backend, by backendSlotKey. */
  readonly sourceOf: (key: string) => CheckSource
  /** Sends a message to the process. */
  readonly send: (message: object) => void
  readonly close: () => Promise<void>
}

export interface CheckPathEvents {
  readonly onMessage: (message: object) => void
  /** The process ended by itself. */
  readonly onEnd: () => void
}

/** Name of the end of the veth in the namespace of the checks. */
const INNER = 'check'
/** MAC addresses of both ends; answer_check in bpf/include/check_answer.h writes them too. */
const OUTER_MAC = '02:78:64:70:00:00'
const CHECK_MAC = '02:78:64:70:00:01'
/** Minimum of IPv6 (RFC 8200 §5): with every encapsulation the packets fit into 1,348 bytes. */
const MTU = 1280
/** Digits of a device's name that come from the instance. */
const DIGITS = 8

const waysMap = arrayMap('check_ways', checkWayCodec.size, CHECK_WAYS)
const named = list(record({ ifname: text, ifalias: optional(text) }))

const noPlaces = { ring: 0, ringSize: 0, takers: 0, backups: 0, poolList: 0, sorry: undefined }
const noRole = { service: 0, leaving: false, sorry: false, deadline: 0 }

/** A service and one of its backends as struct check_way. */
export function encodeWay({ service, backend }: CheckedBackend): Uint8Array {
  const bytes = new Uint8Array(checkWayCodec.size)
  const view = new DataView(bytes.buffer)
  serviceCodec.encode(serviceLine(service, noPlaces), view, checkWayCodec.offsets.service)
  backendCodec.encode(backendLine(backend, noRole), view, checkWayCodec.offsets.backend)
  return bytes
}

const NO_WAY = new Uint8Array(checkWayCodec.size)

/** A backend with its place in check_ways. */
interface Way {
  readonly number: number
  readonly source: string | undefined
  readonly isResolved: boolean
  /** Checks made so far, which take the ports in turn. */
  turn: number
}

interface Open {
  readonly process: CheckProcess
  readonly ifindex: number
}

class Path implements CheckPath {
  readonly #host: Pick<Host, 'bpffs' | 'instance'>
  readonly #events: CheckPathEvents
  #open: Open | undefined
  #ways = new Map<string, Way>()
  /** Content of check_ways by number, as hex digits; absent: zeros. */
  readonly #written = new Map<number, string>()
  #sources: ReadonlySet<string> = new Set()

  constructor(host: Pick<Host, 'bpffs' | 'instance'>, events: CheckPathEvents) {
    this.#host = host
    this.#events = events
  }

  readonly sourceOf = (key: string): CheckSource => {
    const way = this.#ways.get(key)
    if (!way) return { reason: 'the path through the VIP is not ready', isFault: false }
    if (!way.isResolved) return { reason: 'its next hop is unknown', isFault: true }
    if (way.source === undefined) return { reason: 'this host has no address to check from', isFault: false }
    const port = CHECK_FIRST_PORT + way.number * CHECK_PORTS_A_WAY + (way.turn++ % CHECK_PORTS_A_WAY)
    return { address: way.source, port }
  }

  readonly send = (message: object): void => this.#open?.process.send(message)

  readonly follow = async (backends: readonly CheckedBackend[]): Promise<void> => {
    if (backends.length === 0) return this.close()
    const open = this.#open ?? (await this.#begin())
    const vips = new Set(backends.map(({ service }) => textOf(service.vip)))
    const queries = backends.map(({ service, backend }) => ({
      backend: textOf(backend.address),
      backendFamily: backend.address.family,
      family: service.vip.family,
    }))
    const found = await readSources(queries, vips)
    const sources = new Set(found.filter((one) => one !== undefined).slice(0, CHECK_SOURCES))
    const ways = this.#place(backends, found, sources)
    await this.#write(open, backends, ways, sources)
    this.#ways = ways
  }

  readonly close = async (): Promise<void> => {
    this.#ways = new Map()
    const open = this.#open
    this.#open = undefined
    if (!open) return
    open.process.kill()
    await open.process.ended
    await this.#clear()
  }

  /** Gives each backend a number, the one that it had if possible. */
  #place(
    backends: readonly CheckedBackend[],
    found: readonly (string | undefined)[],
    sources: ReadonlySet<string>,
  ): Map<string, Way> {
    const keys = backends.map(({ service, backend }) => backendSlotKey(service.name, backend))
    const taken = new Set(keys.flatMap((key) => this.#ways.get(key)?.number ?? []))
    let next = 0
    const free = (): number => {
      while (taken.has(next)) next++
      return next++
    }
    const ways = new Map<string, Way>()
    for (const [i, key] of keys.entries()) {
      const before = this.#ways.get(key)
      const number = before?.number ?? free()
      if (number >= CHECK_WAYS) continue
      const source = found[i]
      const isResolved = backends[i]?.backend.nextHop !== undefined
      ways.set(key, {
        number,
        source: source !== undefined && sources.has(source) ? source : undefined,
        isResolved,
        turn: before?.turn ?? 0,
      })
    }
    return ways
  }

  async #write(
    { process, ifindex }: Open,
    backends: readonly CheckedBackend[],
    ways: ReadonlyMap<string, Way>,
    sources: ReadonlySet<string>,
  ): Promise<void> {
    const paths = pinPaths(this.#host.bpffs, this.#host.instance)
    const added = [...sources].filter((one) => !this.#sources.has(one))
    const gone = [...this.#sources].filter((one) => !sources.has(one))
    const lines = [...added.map((one) => ['add', one] as const), ...gone.map((one) => ['del', one] as const)]
    if (lines.length > 0) {
      const batch = lines.map(
        ([verb, one]) => `address ${verb} ${one}/${one.includes(':') ? '128 nodad' : '32'} dev lo`,
      )
      await runInNamespace(process, 'ip', ['-batch', '-'], `${batch.join('\n')}\n`)
    }
    const content = new Map<number, Uint8Array>([...this.#written.keys()].map((number) => [number, NO_WAY]))
    for (const one of backends) {
      const way = ways.get(backendSlotKey(one.service.name, one.backend))
      if (way) content.set(way.number, encodeWay(one))
    }
    const changed = [...content].filter(([number, bytes]) => this.#written.get(number) !== hexOf(bytes))
    const value = new Uint8Array(checkDeviceCodec.size)
    checkDeviceCodec.encode({ ifindex }, new DataView(value.buffer))
    const map = paths.sharedMap(HEALTH.maps.checkSources)
    await runParts(
      quiet(
        ...changed.map(([number, bytes]) => updateCommand(`${paths.checks}/${waysMap.name}`, number, bytes)),
        // Again each time: an apply may have made the map anew.
        ...[...sources].map((one) => sourceCommand('update', map, one, value)),
      ),
    )
    this.#sources = sources
    for (const [number, bytes] of changed) {
      if (bytes === NO_WAY) this.#written.delete(number)
      else this.#written.set(number, hexOf(bytes))
    }
    await this.#forget(gone)
  }

  /** Removes sources from the map, as far as they are in it. */
  async #forget(sources: readonly string[]): Promise<void> {
    const map = pinPaths(this.#host.bpffs, this.#host.instance).sharedMap(HEALTH.maps.checkSources)
    for (const one of sources) await runParts(quiet(sourceCommand('delete', map, one))).catch(() => undefined)
  }

  async #begin(): Promise<Open> {
    await this.#clear()
    const device = await this.#freeDevice()
    const process = await startCheckProcess(this.#events.onMessage)
    try {
      const ifindex = await this.#connect(device, process)
      const open = { process, ifindex }
      this.#open = open
      this.#written.clear()
      this.#sources = new Set()
      void process.ended.then(() => {
        if (this.#open !== open) return
        this.#open = undefined
        this.#ways = new Map()
        this.#events.onEnd()
      })
      return open
    } catch (error) {
      process.kill()
      await process.ended
      throw error
    }
  }

  /** Makes the veth and attaches the programs. Returns the ifindex of the end here. */
  async #connect(device: string, process: CheckProcess): Promise<number> {
    const { checks } = pinPaths(this.#host.bpffs, this.#host.instance)
    await runIp([
      `link add ${device} address ${OUTER_MAC} mtu ${MTU} type veth peer name ${INNER} address ${CHECK_MAC} mtu ${MTU} netns ${process.pid}`,
      `link set ${device} alias ${this.#alias()} addrgenmode none up`,
    ])
    const inner = [
      'link set lo up',
      // The program looks at ports alone, so frames need no MAC address of a neighbour.
      `link set ${INNER} arp off up`,
      `route add default dev ${INNER}`,
    ]
    await runInNamespace(process, 'ip', ['-batch', '-'], `${inner.join('\n')}\n`)
    // Fails where IPv6 is disabled; then there is no VIP of it.
    await runInNamespace(process, 'ip', ['-6', 'route', 'add', 'default', 'dev', INNER]).catch(() => undefined)
    const { checkPath } = await loadObject()
    const [ways, programs] = [`${checks}/${waysMap.name}`, `${checks}/programs`]
    await makeDirectory(checks, this.#host.bpffs)
    await runParts(
      quiet(
        bpftool('map', 'create', ways, ...mapWords(waysMap)),
        bpftool('prog', 'loadall', checkPath, programs, 'map', 'name', waysMap.name, 'pinned', ways),
        bpftool('net', 'attach', 'xdpdrv', 'pinned', `${programs}/xdp_check`, 'dev', device),
      ),
    )
    const answer = ['net', 'attach', 'xdpdrv', 'pinned', `${programs}/xdp_check_answer`, 'dev', INNER]
    await runInNamespace(process, 'bpftool', answer)
    const ifindex = (await readLinks()).get(device)?.ifindex
    if (ifindex === undefined) throw fail('E225', `${device} does not exist, although ip has made it`)
    return ifindex
  }

  #alias = (): string => `xdp-as-code/${this.#host.instance}/checks`

  /** The name of the device. Removes one that the process of a killed daemon has left. Throws E225 if it is not ours. */
  async #freeDevice(): Promise<string> {
    const { bpffs, instance } = this.#host
    const digest = createHash('sha256').update(`${bpffs} ${instance}`).digest('hex')
    const device = `xdpc${digest.slice(0, DIGITS)}`
    const found = (await askIp(named, 'link', 'show')).find(({ ifname }) => ifname === device)
    if (!found) return device
    if (found.ifalias !== this.#alias()) {
      const hint = `ip link set ${device} name NAME, to rename it`
      throw fail('E225', `health checks through VIPs need the name ${device}, which another interface has`, hint)
    }
    await runIp([`link del ${device}`])
    return device
  }

  /** Removes the pins and sources, of this daemon or of one that was killed. */
  async #clear(): Promise<void> {
    const paths = pinPaths(this.#host.bpffs, this.#host.instance)
    await removePins(paths.checks)
    const { keySize, valueSize } = HEALTH.maps.checkSources
    const map = paths.sharedMap(HEALTH.maps.checkSources)
    // No map: the instance has been destroyed.
    const dump = await askBatch(entriesOf(keySize, valueSize), [bpftool('map', 'dump', 'pinned', map)]).catch(() => [])
    const keys = dump.flat().map(({ key }) => bpftool('map', 'delete', 'pinned', map, 'key', 'hex', ...hexBytes(key)))
    if (keys.length > 0) await runParts(quiet(...keys)).catch(() => undefined)
  }
}

const textOf = ({ family, words }: Backend['address']): string => formatAddress(family, words)
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function sourceCommand(verb: 'update' | 'delete', map: string, address: string, value?: Uint8Array): Command {
  const parsed = parseAddress(address)
  const key = parsed ? hexBytes(addressBytes(parsed)) : []
  return bpftool(
    'map',
    verb,
    'pinned',
    map,
    'key',
    'hex',
    ...key,
    ...(value ? ['value', 'hex', ...hexBytes(value)] : []),
  )
}

/** Runs lines of ip. Throws E225 with the first that fails. */
async function runIp(lines: readonly string[]): Promise<void> {
  const results = await runIpBatch(lines)
  const failed = results.findIndex(({ error }) => error !== undefined)
  if (failed >= 0) throw fail('E225', `ip ${lines[failed]} failed: ${results[failed]?.error}`)
}

/** Makes no process and no device before the first backend. */
export const openCheckPath = (host: Pick<Host, 'bpffs' | 'instance'>, events: CheckPathEvents): CheckPath =>
  new Path({ bpffs: host.bpffs, instance: host.instance }, events)
