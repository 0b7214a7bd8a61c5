// The path of health checks through VIPs (docs/adr/0064). A process in a network namespace makes the connections; a veth
// leads out of it, whose end in this namespace runs xdp_check, which sends packets to backends as the balancer does. The
// filter of the instance sends the answers back, by the map `check_sources`.
//
// Only the addresses in `check_sources` and the pins outlive a killed daemon; the next one removes them, and destroy.

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
import { pinPaths } from '../../abi/paths.ts'
import { HEALTH } from '../../features/health.ts'
import { type Backend, backendSlotKey, type Service } from '../../model/service.ts'
import { formatAddress, parseAddress } from '../../model/text.ts'
import { addressBytes, backendLine, serviceLine } from '../../tables/services/service-lines.ts'
import { type CheckProcess, runInNamespace, startCheckProcess } from '../host/check-process.ts'
import { arrivalsOf, readSources } from '../host/check-source.ts'
import type { Host } from '../host/host.ts'
import { type RawLink, readLinks } from '../host/links.ts'
import { runParts } from '../tools/bpftool.ts'
import { CHECK_WAYS_MAP, clearChecks, connectDevice, freeDevice } from './check-device.ts'

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
  /** The interface towards the backend, if it runs in generic mode: its driver may not send frames of native XDP. */
  readonly generic: string | undefined
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
    if (way.generic !== undefined) {
      return { reason: `${way.generic} runs generic XDP, and checks through VIPs need native XDP`, isFault: false }
    }
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
    const [found, links] = await Promise.all([readSources(queries, vips), readLinks()])
    const addresses = found.map((one) => one?.address)
    const sources = new Set(addresses.filter((one) => one !== undefined).slice(0, CHECK_SOURCES))
    const generic = new Set([...links.values()].filter(isGeneric).map(({ name }) => name))
    const ways = this.#place(backends, addresses, sources, generic)
    await this.#write(open, backends, ways, { sources, arrivals: arrivalsOf(backends, found) })
    this.#ways = ways
  }

  readonly close = async (): Promise<void> => {
    this.#ways = new Map()
    const open = this.#open
    this.#open = undefined
    if (!open) return
    open.process.kill()
    await open.process.ended
    await clearChecks(this.#host)
  }

  /** Gives each backend a number, the one that it had if possible. */
  #place(
    backends: readonly CheckedBackend[],
    found: readonly (string | undefined)[],
    sources: ReadonlySet<string>,
    generic: ReadonlySet<string>,
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
      const device = backends[i]?.backend.nextHop?.interface
      ways.set(key, {
        number,
        source: source !== undefined && sources.has(source) ? source : undefined,
        isResolved: device !== undefined,
        generic: device !== undefined && generic.has(device) ? device : undefined,
        turn: before?.turn ?? 0,
      })
    }
    return ways
  }

  async #write(
    { process, ifindex }: Open,
    backends: readonly CheckedBackend[],
    ways: ReadonlyMap<string, Way>,
    { sources, arrivals }: { readonly sources: ReadonlySet<string>; readonly arrivals: ReadonlyMap<string, number> },
  ): Promise<void> {
    const paths = pinPaths(this.#host.bpffs, this.#host.instance)
    const added = [...sources].filter((one) => !this.#sources.has(one))
    const gone = [...this.#sources].filter((one) => !sources.has(one))
    // Again is no error, so that a failure further on does not stay.
    if (added.length > 0) await runInNamespace(process, 'ip', ['-batch', '-'], addressLines('replace', added))
    if (gone.length > 0) await runInNamespace(process, 'ip', ['-force', '-batch', '-'], addressLines('del', gone))
    const content = new Map<number, Uint8Array>([...this.#written.keys()].map((number) => [number, NO_WAY]))
    for (const one of backends) {
      const way = ways.get(backendSlotKey(one.service.name, one.backend))
      if (way) content.set(way.number, encodeWay(one))
    }
    const changed = [...content].filter(([number, bytes]) => this.#written.get(number) !== hexOf(bytes))
    const deviceFor = (source: string): Uint8Array => {
      const value = new Uint8Array(checkDeviceCodec.size)
      checkDeviceCodec.encode({ ifindex, from: arrivals.get(source) ?? 0 }, new DataView(value.buffer))
      return value
    }
    const map = paths.sharedMap(HEALTH.maps.checkSources)
    await runParts(
      quiet(
        ...changed.map(([number, bytes]) => updateCommand(`${paths.checks}/${CHECK_WAYS_MAP.name}`, number, bytes)),
        // Again each time: an apply may have replaced the map.
        ...[...sources].map((one) => sourceCommand('update', map, one, deviceFor(one))),
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
    await clearChecks(this.#host)
    const device = await freeDevice(this.#host)
    const process = await startCheckProcess(this.#events.onMessage)
    try {
      const ifindex = await connectDevice(this.#host, device, process)
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
}

const isGeneric = ({ programs }: RawLink): boolean => programs.some(({ mode }) => mode === 'generic')

const textOf = ({ family, words }: Backend['address']): string => formatAddress(family, words)

const addressLines = (verb: 'replace' | 'del', addresses: readonly string[]): string =>
  addresses.map((one) => `address ${verb} ${one}/${one.includes(':') ? '128 nodad' : '32'} dev lo\n`).join('')

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

/** Makes no process and no device before the first backend. */
export const openCheckPath = (host: Pick<Host, 'bpffs' | 'instance'>, events: CheckPathEvents): CheckPath =>
  new Path({ bpffs: host.bpffs, instance: host.instance }, events)
