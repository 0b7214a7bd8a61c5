// Health checks, resolved: one for each backend of each service that is checked, with nothing left to look up. What a
// check finds is no part of a State: configured weight and health are two things, and a plan never shows the latter.

import type { Address } from './address.ts'
import type { PortRange } from './ports.ts'

/** When a check runs, and how many results in a row it takes to believe them. All times in milliseconds. */
export interface CheckSchedule {
  /** From the start of one check to the start of the next, at most. */
  readonly intervalMs: number
  /** Each start is brought forward by a random time from 0 up to this; less than the interval. */
  readonly jitterMs: number
  /** A check without a result after this has failed; at most the interval. */
  readonly timeoutMs: number
  /** Good results in a row after which a backend that is down is up; from 1. */
  readonly rise: number
  /** Bad results in a row after which a backend that is up is down; from 1. */
  readonly fall: number
  /** For so long after it has come up a backend takes a growing part of its share; 0 = all of it at once. */
  readonly slowStartMs: number
}

/** Whom a check asks. */
interface Target {
  readonly address: Address
  readonly port: number
}

/** Up if a connection is accepted. */
export interface TcpCheck extends CheckSchedule, Target {
  readonly type: 'tcp'
}

interface HttpRequest extends CheckSchedule, Target {
  readonly method: 'GET' | 'HEAD'
  /** Begins with `/`; as sent, query included. */
  readonly path: string
  /** Host header; undefined = the backend's address, and the port where it is not the scheme's own. */
  readonly host: string | undefined
  /** Status codes of a good answer: sorted, disjoint. */
  readonly status: readonly PortRange[]
  /** Text that the body of a good answer contains (UTF-8); undefined = the body does not matter. */
  readonly body: string | undefined
}

/** Up if the answer has one of the status codes, and the text in its body. Redirects are not followed. */
export interface HttpCheck extends HttpRequest {
  readonly type: 'http'
}

export interface HttpsCheck extends HttpRequest {
  readonly type: 'https'
  /** Name asked for in the handshake (RFC 6066 §3) and looked for in the certificate; undefined = `host`, then none. */
  readonly sni: string | undefined
  /** Whether the certificate must be valid for the name (the address where there is none) and signed by a known CA. */
  readonly verify: boolean
}

/** Up if a datagram is answered. */
export interface UdpCheck extends CheckSchedule, Target {
  readonly type: 'udp'
  /** Payload to send, as hex digits in lower case; may be empty. */
  readonly send: string
  /** Bytes that the answer contains, as hex digits in lower case; undefined = any answer will do. */
  readonly expect: string | undefined
}

/** Up if the command ends with status 0. It is run without a shell. */
export interface ExecCheck extends CheckSchedule {
  readonly type: 'exec'
  /** The backend, told to the command by its environment. */
  readonly address: Address
  /** undefined: the service has no single port. */
  readonly port: number | undefined
  /** Absolute path and arguments. */
  readonly command: readonly [string, ...string[]]
  /** Name of the user it runs as. */
  readonly user: string
}

export type HealthCheck = TcpCheck | HttpCheck | HttpsCheck | UdpCheck | ExecCheck

/**
 * What becomes of new flows while fewer backends are healthy than `minHealthy`. `keep_last`: they go to the backends
 * that were healthy before too few were. `sorry`: to the service's sorry backend. `drop`: nowhere.
 */
export type Fallback = 'keep_last' | 'sorry' | 'drop'

/** How many backends must be healthy: a number of them, or a share (0 to 1) of those that are to take new flows. */
export type MinHealthy =
  | { readonly kind: 'count'; readonly value: number }
  | { readonly kind: 'share'; readonly value: number }

/** The checks of one service. */
export interface ServiceHealth {
  readonly minHealthy: MinHealthy
  readonly fallback: Fallback
  /** By backendKey. A backend that is not checked (`health: false`) is not in it and counts as healthy. */
  readonly checks: ReadonlyMap<string, HealthCheck>
}

export const DEFAULT_MIN_HEALTHY: MinHealthy = { kind: 'count', value: 1 }
export const DEFAULT_FALLBACK: Fallback = 'keep_last'
