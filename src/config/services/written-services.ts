// Services as written: the shape that schemas/xdp.schema.json guarantees under `services`.

import type { Forwarding } from '../../features/forwarding/forwarding.ts'
import type { Fallback, HealthCheck, RecordType, ResponseCode } from '../../model/health.ts'
import type { TransportProtocol } from '../../model/ports.ts'
import type { BackendState, FlowHash, OnEmpty, RepliesFrom, Scheduler } from '../../model/service.ts'

/** A percentage: `50%`. */
type Percentage = string
/** A number with a unit: `500ms`, `30s`. */
type Duration = string

export interface WrittenHealth {
  readonly type?: HealthCheck['type']
  readonly interval?: Duration
  readonly jitter?: Percentage
  readonly timeout?: Duration
  readonly rise?: number
  readonly fall?: number
  readonly slow_start?: Duration
  readonly port?: number
  readonly via?: 'backend' | 'vip'
  readonly path?: string
  readonly host?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly method?: 'GET' | 'HEAD'
  readonly status?: number | string | readonly (number | string)[]
  readonly body?: string
  readonly sni?: string
  readonly verify?: boolean
  readonly grpc_service?: string
  readonly query?: string
  readonly record?: RecordType
  readonly transport?: 'udp' | 'tcp'
  readonly rcode?: ResponseCode | readonly ResponseCode[]
  readonly answer?: string
  readonly send?: string
  readonly send_hex?: string
  readonly expect?: string
  readonly expect_hex?: string
  readonly command?: readonly string[]
  readonly user?: string
}

export interface WrittenBackend {
  readonly address: string
  readonly port?: number
  readonly weight?: number
  readonly state?: BackendState
  readonly backup?: boolean
  readonly mtu?: number
  readonly health?: false | WrittenHealth
}

export interface WrittenService {
  readonly vip: string
  readonly port: number | string | readonly (number | string)[]
  readonly protocol: TransportProtocol | readonly TransportProtocol[]
  readonly forwarding: Forwarding
  readonly scheduler?: Scheduler
  readonly hash?: FlowHash
  readonly on_empty?: OnEmpty
  readonly snat?: boolean
  readonly snat_pool?: readonly string[]
  readonly replies_from?: RepliesFrom
  readonly gue_port?: number
  readonly outer_source?: { readonly v4?: string; readonly v6?: string }
  readonly udp_timeout?: Duration
  readonly drain_timeout?: Duration
  readonly mtu?: number
  readonly backends: readonly (string | WrittenBackend)[]
  readonly health?: WrittenHealth
  readonly min_healthy?: number | Percentage
  readonly fallback?: Fallback
  readonly sorry?: { readonly address: string; readonly port?: number }
}
