// The settings of a policy, one record each. Config, planner, digests and reports iterate over them. To add one: write
// its record here, its key in schemas/xdp.schema.json, and for a number a field of its name in `struct settings` (abi.h),
// for words a flag in src/tables/image/settings.ts. A setting for which line 0 has no room has lines of its own there.

import { banMemory } from './ban-size.ts'
import { formatCount } from './numbers.ts'
import { shownSyn } from './syn-protection.ts'

/** Verdict on packets that no list decides. */
export type DefaultVerdict = 'pass' | 'drop'

/** `pass`: packets of connections that this host opened pass, though a list or the default would drop them. */
export type Established = 'pass' | 'judge'

/** Groups of packets that default drop passes, in the order of reports. */
export const ESSENTIAL_GROUPS = [
  'loopback',
  'icmp_errors',
  'neighbor_discovery',
  'mld',
  'dhcp_client',
  'dhcp_server',
] as const

export type EssentialGroup = (typeof ESSENTIAL_GROUPS)[number]

export interface Setting<T> {
  /** Its keys in the config. Included files may have those below `policy`, only the top file has others. */
  readonly config: readonly [outer: string, inner?: string]
  /** Its value if no file sets it. */
  readonly initial: T
  /** Its value if no file sets it, from that of another setting, instead of `initial`. */
  readonly follows?: { readonly setting: string; readonly value: (of: unknown) => unknown }
  /** Without services it has no effect. */
  readonly needsServices?: true
  /** Images of earlier versions lack it, which means its initial value. */
  readonly isLater?: true
  /** The value in force for a written one; default: the written one. */
  readonly round?: (written: T) => T
  /** Whether outputs have its fingerprint instead of its value. */
  readonly isSecret?: true
  /** The value in a plan; default: as in the config. */
  readonly text?: (value: T) => string
  /** Impact of a change on traffic. */
  readonly impact: 'hitless' | 'new-flows'
  /** Its JSON Schema in outputs. */
  readonly schema: Readonly<Record<string, unknown>>
  /** The consequence of a change, for a plan. */
  readonly consequence?: string
}

const setting = <T>(own: Setting<T>): Setting<T> => own

export const SETTINGS = {
  /** Verdict of packets that no list decides. */
  default: setting<DefaultVerdict>({
    config: ['policy', 'default'],
    initial: 'pass',
    impact: 'hitless',
    schema: { description: 'Verdict of packets that no list decides.', enum: ['pass', 'drop'] },
  }),
  /** Verdict of packets that cannot be parsed to an address, or not completely, and that no list decides. */
  unparsed: setting<DefaultVerdict>({
    config: ['policy', 'unparsed'],
    initial: 'pass',
    follows: { setting: 'default', value: (verdict) => verdict },
    isLater: true,
    impact: 'hitless',
    schema: { description: 'Verdict of packets that cannot be parsed.', enum: ['pass', 'drop'] },
  }),
  /** Verdict of packets that would be dropped, but belong to connections that this host opened. */
  established: setting<Established>({
    config: ['policy', 'established'],
    initial: 'judge',
    follows: { setting: 'default', value: (verdict) => (verdict === 'drop' ? 'pass' : 'judge') },
    isLater: true,
    impact: 'hitless',
    schema: {
      description: 'Whether packets of connections that this host opened pass where they would be dropped.',
      enum: ['pass', 'judge'],
    },
  }),
  /** Groups of packets that pass although the default verdict is drop. */
  essential: setting<readonly EssentialGroup[]>({
    config: ['policy', 'essential'],
    initial: ESSENTIAL_GROUPS.filter((group) => group !== 'dhcp_server'),
    isLater: true,
    round: (written) => ESSENTIAL_GROUPS.filter((group) => written.includes(group)),
    text: (groups) => groups.join(', ') || 'none',
    impact: 'hitless',
    schema: {
      description: 'Groups of packets that pass under the default verdict drop.',
      type: 'array',
      items: { enum: ESSENTIAL_GROUPS },
    },
  }),
  /** Anomalies that are looked for, as texts of src/model/anomaly.ts. */
  anomalies: setting<readonly string[]>({
    config: ['anomalies'],
    initial: [],
    isLater: true,
    text: (texts) => texts.join(', ') || 'none',
    impact: 'hitless',
    schema: {
      description: 'Anomalies that are looked for, each with `observe` if it is only counted, and its interfaces.',
      type: 'array',
      items: { type: 'string' },
    },
  }),
  /** Capacity of the flow table in entries, a power of two. Another one is a new map, which has no flows. */
  flows: setting<number>({
    config: ['limits', 'flows'],
    initial: 2 ** 20,
    round: (written) => 2 ** Math.ceil(Math.log2(written)),
    text: formatCount,
    needsServices: true,
    impact: 'new-flows',
    schema: {
      description: 'Capacity of the flow table; null: there is none, because there are no services.',
      type: ['integer', 'null'],
      minimum: 1,
    },
    consequence: 'clears the flow table: existing flows may move to other backends',
  }),
  /** Size of the table of bans, a power of two. Bans in force are carried over to a table of another size. */
  bans: setting<number>({
    config: ['limits', 'bans'],
    initial: 2 ** 17,
    isLater: true,
    round: (written) => 2 ** Math.ceil(Math.log2(written)),
    text: (bans) => `${formatCount(bans)} (${banMemory(bans)})`,
    impact: 'hitless',
    schema: { description: 'Size of the table of bans.', type: 'integer', minimum: 1 },
    consequence: 'carries the bans in force over to a table of that size',
  }),
  /** Key of the hash that chooses backends, the same on all balancers of a VIP: 32 hex digits; empty = none. */
  hash_key: setting<string>({
    config: ['balancer', 'hash_key'],
    initial: '',
    isLater: true,
    isSecret: true,
    round: (written) => written.toLowerCase(),
    text: (shown) => (shown === '' ? 'none' : `fingerprint ${shown}`),
    impact: 'new-flows',
    schema: {
      description: 'Fingerprint of the key by which flows choose backends; empty: no key.',
      type: 'string',
      pattern: '^([0-9a-f]{8})?$',
    },
    consequence: 'new flows may go to other backends; known ones stay',
  }),
  /** Sources that no change may cut off, as texts of src/model/protect.ts. Changes no verdict; bans ask for it. */
  protect: setting<readonly string[]>({
    config: ['protect'],
    initial: [],
    isLater: true,
    text: (texts) => texts.join(', ') || 'none',
    impact: 'hitless',
    schema: {
      description: 'Sources that no apply and no ban may cut off, each with its protocol and port, if it has them.',
      type: 'array',
      items: { type: 'string' },
    },
  }),
  /** Ports of this host whose SYNs are answered with cookies, as a text of src/model/syn-protection.ts; empty = none. */
  syn_protection: setting<string>({
    config: ['syn_protection'],
    initial: '',
    isLater: true,
    text: shownSyn,
    impact: 'hitless',
    schema: {
      description:
        'Ports of this host whose SYNs are answered with cookies, as mode, threshold and ports: `auto 2000 443,8000-8099`; empty: none.',
      type: 'string',
      pattern: '^((auto|always) [0-9]+ [0-9,-]+)?$',
    },
  }),
} as const

export type SettingName = keyof typeof SETTINGS

export type Policy = { readonly [K in SettingName]: (typeof SETTINGS)[K]['initial'] }

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[]

/** The record of a setting, for code that treats all alike: the type of its value is lost. */
export const settingOf = (name: SettingName): Setting<unknown> => SETTINGS[name] as Setting<unknown>

export const DEFAULT_POLICY = Object.fromEntries(
  SETTING_NAMES.map((name) => [name, settingOf(name).initial]),
) as unknown as Policy

/** Settings that differ. */
export const changedSettings = (before: Policy, after: Policy): SettingName[] =>
  SETTING_NAMES.filter((name) => String(before[name]) !== String(after[name]))
