// Health checks, resolved: one for each backend of each checked service, with nothing left to look up. Results of
// checks are not part of a State: the config sets weights, health scales them, and plans show weights alone.

import type { Address } from './address.ts'
import type { PortRange } from './ports.ts'
import type { Service } from './service.ts'

/** Schedule of a check, and how many results in a row change a backend's state. All times in milliseconds. */
export interface CheckSchedule {
  /** From the start of one check to the start of the next, at most. */
  readonly intervalMs: number
  /** A random time from 0 up to this, less than the interval, is subtracted from each interval. */
  readonly jitterMs: number
  /** Each check starts earlier by a random time from 0 up to this; less than the interval. */
  readonly timeoutMs: number
  /** Good results in a row that bring a backend up; from 1. */
  readonly rise: number
  /** Bad results in a row that take a backend down; from 1. */
  readonly fall: number
  /** Time over which a backend's share grows after it comes up; 0 = the full share at once. */
  readonly slowStartMs: number
}

/** Address and port that a check connects to. */
interface Target {
  readonly address: Address
  readonly port: number
  /**
   * The packets of the check go to `address`, which is the VIP of the service, as the balancer would send them to this
   * backend. undefined: `address` is that of the backend.
   */
  readonly via?: 'vip'
}

/** Passes if a connection is accepted. */
export interface TcpCheck extends CheckSchedule, Target {
  readonly type: 'tcp'
}

/** How a check over TLS knows the backend. */
interface OverTls {
  /**
   * Server name in the handshake (RFC 6066 §3), also looked for in the certificate; undefined = `host`, else no name.
   */
  readonly sni: string | undefined
  /** Whether the certificate must be valid for the name (the address if there is no name) and signed by a known CA. */
  readonly verify: boolean
}

interface HttpRequest extends CheckSchedule, Target {
  readonly method: 'GET' | 'HEAD'
  /** Begins with `/`; sent unchanged, query included. */
  readonly path: string
  /** Host header; undefined = the backend's address, with the port unless it is the scheme's default. */
  readonly host: string | undefined
  /** Further headers by name, none of them Host. */
  readonly headers: Readonly<Record<string, string>>
  /** Status codes of a passing answer: sorted, disjoint. */
  readonly status: readonly PortRange[]
  /** Text that the body of a passing answer contains (UTF-8); undefined = any body. */
  readonly body: string | undefined
}

/** Passes if the answer has one of the status codes, and the text in its body. Redirects are not followed. */
export interface HttpCheck extends HttpRequest {
  readonly type: 'http'
}

export interface HttpsCheck extends HttpRequest, OverTls {
  readonly type: 'https'
}

interface GrpcRequest extends CheckSchedule, Target {
  /** Service that the health service is asked about; empty = the server as a whole. */
  readonly service: string
  /** `:authority` of the request; undefined = the backend's address and port. */
  readonly host: string | undefined
}

/** Passes if grpc.health.v1.Health/Check, over HTTP/2 without TLS, answers SERVING. */
export interface GrpcCheck extends GrpcRequest {
  readonly type: 'grpc'
}

export interface GrpcsCheck extends GrpcRequest, OverTls {
  readonly type: 'grpcs'
}

/** Types of records that a DNS check may ask for (RFC 1035 §3.2.2, RFC 3596, RFC 2782). */
export type RecordType = 'A' | 'AAAA' | 'CNAME' | 'MX' | 'NS' | 'PTR' | 'SOA' | 'SRV' | 'TXT'
/** RFC 1035 §4.1.1. */
export type ResponseCode = 'noerror' | 'formerr' | 'servfail' | 'nxdomain' | 'notimp' | 'refused'

/** Passes if the backend answers a query with one of the response codes, and with the expected record. */
export interface DnsCheck extends CheckSchedule, Target {
  readonly type: 'dns'
  /** Name to ask for, without the final dot; empty = the root. */
  readonly query: string
  readonly record: RecordType
  readonly transport: 'udp' | 'tcp'
  /** Accepted response codes. */
  readonly rcodes: readonly ResponseCode[]
  /** Content of one of the records in a passing answer; undefined = any answer. */
  readonly answer: string | undefined
}

/** Passes if a datagram is answered. */
export interface UdpCheck extends CheckSchedule, Target {
  readonly type: 'udp'
  /** Payload to send, as hex digits in lower case; may be empty. */
  readonly send: string
  /** Bytes that the answer contains, as hex digits in lower case; undefined = any answer. */
  readonly expect: string | undefined
}

/** Passes if the command ends with status 0. It runs without a shell. */
export interface ExecCheck extends CheckSchedule {
  readonly type: 'exec'
  /** The backend's address, in the command's environment. */
  readonly address: Address
  /** undefined: the service has a range of ports. */
  readonly port: number | undefined
  /** Absolute path and arguments. */
  readonly command: readonly [string, ...string[]]
  /** The user it runs as. */
  readonly user: string
}

export type HealthCheck = TcpCheck | HttpCheck | HttpsCheck | GrpcCheck | GrpcsCheck | DnsCheck | UdpCheck | ExecCheck

/**
 * Destination of new flows while fewer than `minHealthy` backends are healthy. `keep_last`: the backends that were
 * healthy before the number fell below the minimum. `backup`: the backups. `sorry`: the backups if there are any, then
 * the service's sorry backend. `drop`: none. `on_empty`: none, and `onEmpty` of the service decides on their packets.
 */
export type Fallback = 'keep_last' | 'backup' | 'sorry' | 'drop' | 'on_empty'

/** Minimum of healthy backends: a number, or a share (0 to 1) of the backends in the ring. Backups do not count. */
export type MinHealthy =
  | { readonly kind: 'count'; readonly value: number }
  | { readonly kind: 'share'; readonly value: number }

/** The checks of one service. */
export interface ServiceHealth {
  readonly minHealthy: MinHealthy
  readonly fallback: Fallback
  /** By backendKey. A backend without a check (`health: false`) has no entry and counts as healthy. */
  readonly checks: ReadonlyMap<string, HealthCheck>
}

export const DEFAULT_MIN_HEALTHY: MinHealthy = { kind: 'count', value: 1 }

/** The fallback of a service that names none. */
export const defaultFallback = ({ backends, onEmpty }: Pick<Service, 'backends' | 'onEmpty'>): Fallback =>
  backends.some(({ backup }) => backup) ? 'backup' : onEmpty === 'reject' ? 'on_empty' : 'keep_last'
