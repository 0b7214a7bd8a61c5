// The output of ethtool as data. Before version 6 it prints no JSON, and never for these three options.

import { tryTool } from '../tools/spawn.ts'

/** An offload: its state, and whether the driver permits changing it. */
export interface Feature {
  readonly on: boolean
  readonly fixed: boolean
}

/** Number of queues; undefined for a kind of queue that the driver does not have. */
export interface Channels {
  readonly rx: number | undefined
  readonly tx: number | undefined
  readonly combined: number | undefined
}

export interface Hardware {
  readonly driver: string | undefined
  /** By name, for example `large-receive-offload` or `rx-gro-hw`; empty if unknown. */
  readonly features: ReadonlyMap<string, Feature>
  readonly channels: { readonly max: Channels; readonly now: Channels } | undefined
}

export const UNKNOWN_HARDWARE: Hardware = { driver: undefined, features: new Map(), channels: undefined }

/** `ethtool -i` */
export const parseDriver = (text: string): string | undefined => /^driver: (\S.*)$/m.exec(text)?.[1]

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
    features: parseFeatures(features?.stdout ?? ''),
    channels: parseChannels(channels?.stdout ?? ''),
  }
}
