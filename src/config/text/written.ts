// The config as written: the shape that schemas/xdp.schema.json guarantees. Past this room nothing is optional.

import type { Anomaly, AnomalyName } from '../../model/anomaly.ts'
import type { OnConflict, OnDrift, OnMissing, OnStop } from '../../model/desired.ts'
import type { Fragments } from '../../model/packet-match.ts'
import type { RateAction, RatePer } from '../../model/rate-limit.ts'
import type { AttachMode, Role } from '../../model/state.ts'

/** Formats of list files. */
export type Format = 'auto' | 'plain' | 'jsonl' | 'json' | 'csv' | 'ipset'

export interface WrittenInterface {
  readonly mode?: AttachMode | readonly AttachMode[]
  readonly on_conflict?: OnConflict
  readonly missing?: OnMissing
  readonly roles?: readonly Role[]
}

export type WrittenPorts = number | string | readonly (number | string)[]

export interface WrittenEntry {
  readonly cidr?: string
  readonly cidrs?: readonly string[]
  readonly file?: string
  readonly url?: string
  readonly host?: string
  readonly country?: string | readonly string[]
  readonly asn?: number | readonly number[]
  readonly refresh?: string
  readonly ca?: string
  readonly max_size?: string
  readonly format?: Format
  readonly column?: string | number
  readonly columns?: readonly [string | number, string | number]
  readonly where?: { readonly column: string | number; readonly equals: string | number | boolean }
  readonly on_bad_line?: 'error' | 'skip'
  readonly exclude_private?: boolean
  readonly min_prefix?: { readonly v4?: number; readonly v6?: number }
  readonly max_age?: string
  readonly max_shrink?: string
  readonly max_growth?: string
  readonly name?: string
  readonly protocol?: WrittenProtocol | number
  readonly source_port?: WrittenPorts
  readonly destination_port?: WrittenPorts
  readonly interfaces?: readonly string[]
  readonly established?: 'pass' | 'judge'
  readonly socket?: 'none'
  readonly tcp_flags?: string | readonly string[]
  readonly icmp_type?: number | string | readonly (number | string)[]
  readonly icmp_code?: number | string
  readonly length?: number | string
  readonly ttl?: number | string
  readonly dscp?: number | string | readonly (number | string)[]
  readonly fragments?: Fragments
  readonly vlan?: number | string
  readonly destination?: string | readonly string[]
  readonly action?: 'drop' | 'observe'
  readonly comment?: string
}

/** A number, or one with a decimal unit: `500M`. */
export type WrittenBits = number | string

export interface WrittenRateLimit
  extends Pick<
    WrittenEntry,
    | 'cidr'
    | 'cidrs'
    | 'file'
    | 'url'
    | 'host'
    | 'country'
    | 'asn'
    | 'protocol'
    | 'source_port'
    | 'destination_port'
    | 'interfaces'
    | 'tcp_flags'
    | 'icmp_type'
    | 'icmp_code'
    | 'length'
    | 'ttl'
    | 'dscp'
    | 'fragments'
    | 'vlan'
    | 'destination'
    | 'comment'
  > {
  readonly name: string
  readonly per?: RatePer
  readonly prefix?: { readonly v4?: number; readonly v6?: number }
  readonly packets_per_second?: number
  readonly bits_per_second?: WrittenBits
  readonly burst?: number
  readonly burst_bits?: WrittenBits
  readonly action?: RateAction
  readonly ban?: { readonly for: string; readonly after?: string }
}

export interface WrittenAnomaly {
  readonly name: AnomalyName
  readonly action?: Anomaly['action']
  readonly interfaces?: readonly string[]
}
export type WrittenProtocol = 'tcp' | 'udp' | 'icmp' | 'gre' | 'esp' | 'ah' | 'sctp'

export interface WrittenProtected {
  readonly cidr: string
  readonly protocol?: WrittenProtocol | number
  readonly port?: number
}

export interface WrittenSynProtection {
  readonly ports: WrittenPorts
  readonly mode?: 'auto' | 'always' | 'off'
  readonly threshold?: number
}

export interface WrittenLimits {
  readonly prefixes?: number
  readonly max_removed?: number | string
  readonly max_blocked?: string
  readonly widest?: { readonly v4?: number; readonly v6?: number }
  readonly confirm?: string
  readonly rate_buckets?: number
}

export interface WrittenHistory {
  readonly keep?: number
  readonly size?: string
}

export interface WrittenWatch {
  readonly debounce?: string
  readonly resync?: string
  readonly on_drift?: OnDrift
  readonly on_stop?: OnStop
  readonly metrics?: string
}
