// Where a server listens, as people write it.

import { parseAddress } from './text.ts'

export interface Endpoint {
  /** IPv4 or IPv6 address. */
  readonly address: string
  /** 0 = any that is free. */
  readonly port: number
  /** Nobody outside this machine (or container) can reach it. */
  readonly isLoopback: boolean
}

const LOOPBACK = '127.0.0.1'

/** RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3 */
function isLoopback(address: string): boolean {
  const parsed = parseAddress(address)
  if (!parsed) return false
  const [first = 0, ...rest] = parsed.words
  if (parsed.family === 4) return first >>> 24 === 127
  return first === 0 && rest.join() === '0,0,1'
}

/**
 * `127.0.0.1:9469`, `[::1]:9469`, `localhost:9469`; without an address (`:9469`, `9469`) on loopback: to be reached from
 * elsewhere must be written. undefined for anything else, names of hosts included, since what they are may change.
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  const [, written, port = ''] = /^(?:(\[[^\]]+\]|[^:[\]]*):)?(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) > 65_535) return undefined
  const bracketed = written?.startsWith('[') === true
  const plain = bracketed ? written.slice(1, -1) : written
  const address = plain === undefined || plain === '' || plain === 'localhost' ? LOOPBACK : plain
  const parsed = parseAddress(address)
  if (!parsed || (parsed.family === 6) !== bracketed) return undefined
  return { address, port: Number(port), isLoopback: isLoopback(address) }
}

/** As it is written in a URL. */
export const formatEndpoint = ({ address, port }: Pick<Endpoint, 'address' | 'port'>): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
