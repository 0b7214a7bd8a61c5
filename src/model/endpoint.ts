// The address and port that a server listens on, as `192.0.2.1:9469` or `[2001:db8::1]:9469`.

import { parseAddress } from './text.ts'

export interface Endpoint {
  /** Without brackets. */
  readonly address: string
  readonly port: number
}

const MOST_PORTS = 65_535

/** Returns undefined unless `text` is an address with a port. Host names are refused: their address may change. */
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
