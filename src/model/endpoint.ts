// Where a server listens: an address and a port, as `192.0.2.1:9469` or `[2001:db8::1]:9469`.

import { parseAddress } from './text.ts'

export interface Endpoint {
  /** Without brackets. */
  readonly address: string
  readonly port: number
}

const MOST_PORTS = 65_535

/** undefined for anything but an address with a port; names of hosts are none, because what they mean may change. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  const address = match?.[1] ?? match?.[2]
  const family = match?.[1] === undefined ? 4 : 6
  if (address === undefined || parseAddress(address)?.family !== family) return undefined
  const port = Number(match?.[3])
  return port > 0 && port <= MOST_PORTS ? { address, port } : undefined
}

export const formatEndpoint = ({ address, port }: Endpoint): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
