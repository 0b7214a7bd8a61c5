// The output of ethtool as data. Before version 6 it prints no JSON, and never for these three options.

import type { Channels } from '../../drivers/queues.ts'
import { tryTool } from '../tools/spawn.ts'

/** An offload: its state, and whether the driver permits changing it. */
export interface Feature {
  readonly on: boolean
  readonly fixed: boolean
}

export interface Hardware {
  readonly driver: string | undefined
  /** Place of the device on its bus, such as `0000:00:03.0`; undefined for virtual devices. */
  readonly bus: string | undefined
  /** By name, for example `large-receive-offload` or `rx-gro-hw`; empty if unknown. */
  readonly features: ReadonlyMap<string, Feature>
  readonly channels: { readonly max: Channels; readonly now: Channels } | undefined
}

export const UNKNOWN_HARDWARE: Hardware = {
  driver: undefined,
  bus: undefined,
  features: new Map(),
  channels: undefined,
}

/** `ethtool -i` */
export const parseDriver = (text: string): string | undefined => /^driver: (\S.*)$/m.exec(text)?.[1]

/** `ethtool -i`: the line `bus-info`, which is empty for virtual devices. */
export const parseBus = (text: string): string | undefined => /^bus-info: ([\w.:-]+)$/m.exec(text)?.[1]

/** The drivers of these devices, by name; a device without one has no entry. */
export async function readDrivers(names: readonly string[]): Promise<Map<string, string>> {
  const found = await Promise.all(names.map(async (name) => (await tryTool('ethtool', '-i', name))?.stdout ?? ''))
  return new Map(
    names.flatMap((name, i) => {
      const driver = parseDriver(found[i] as string)
      return driver === undefined ? [] : [[name, driver] as const]
    }),
  )
}

/** `ethtool -k`: `large-receive-offload: off [fixed]`, sub-features indented by a tab. */
export function parseFeatures(text: string): Map<string, Feature> {
  const lines = [...text.matchAll(/^\s*([\w-]+): (on|off)\b(.*)$/gm)]
  return new Map(
    lines.map(([, name = '', state, rest = '']) => [name, { on: state === 'on', fixed: rest.includes('[fixed]') }]),
  )
}

/** `ethtool -l`: two blocks, the maximum and the current number of queues; `n/a` if the driver has no such queues. */
export function parseChannels(text: string): Hardware['channels'] {
  const [max, now] = text.split('Current hardware settings:')
  if (max === undefined || now === undefined) return undefined
  const count = (block: string, name: string): number | undefined => {
    const digits = new RegExp(`^${name}:\\s+(\\d+)$`, 'm').exec(block)?.[1]
    return digits === undefined ? undefined : Number(digits)
  }
  const channels = (block: string): Channels => ({
    rx: count(block, 'RX'),
    tx: count(block, 'TX'),
    combined: count(block, 'Combined'),
  })
  return { max: channels(max), now: channels(now) }
}

/** Whether the device takes the VLAN tag out of frames it receives, before XDP runs; false if that is unknown. */
export const stripsTags = (features: Hardware['features']): boolean => features.get('rx-vlan-offload')?.on === true

/** Whether the driver refuses to leave VLAN tags in frames. */
export const isTagFixed = (features: Hardware['features']): boolean => features.get('rx-vlan-offload')?.fixed === true

/** The devices among these that take VLAN tags out of frames. */
export async function readStripping(names: readonly string[]): Promise<string[]> {
  const found = await Promise.all(names.map(async (name) => (await tryTool('ethtool', '-k', name))?.stdout ?? ''))
  return names.filter((_, i) => stripsTags(parseFeatures(found[i] as string)))
}

/** All facts that ethtool has about an interface; the others are unknown. */
export async function readHardware(name: string): Promise<Hardware> {
  const [driver, features, channels] = await Promise.all([
    tryTool('ethtool', '-i', name),
    tryTool('ethtool', '-k', name),
    tryTool('ethtool', '-l', name),
  ])
  return {
    driver: parseDriver(driver?.stdout ?? ''),
    bus: parseBus(driver?.stdout ?? ''),
    features: parseFeatures(features?.stdout ?? ''),
    channels: parseChannels(channels?.stdout ?? ''),
  }
}
