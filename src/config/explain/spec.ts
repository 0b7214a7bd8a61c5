// What each place of a config may hold, in words: the texts of the schema's violations. A test holds this table and
// schemas/xdp.schema.json together.

import { FORMATS } from './formats.ts'
import type { Spec } from './place-spec.ts'
import { SERVICE_SPECS, TIME } from './spec-services.ts'

const MODES = ['native', 'generic', 'offload'] as const
const NO_LIST = 'write [] for none'
const RANGE: Spec = {
  what: 'an entry',
  expected: 'an address, CIDR or first-last range',
  code: 'E020',
  hint: 'for example 192.0.2.1, 192.0.2.0/24, "2001:db8::/32" or 192.0.2.10-192.0.2.19',
}
const PORTS: Omit<Spec, 'what'> = {
  expected: 'a port from 0 to 65535, a range such as "5900-5999", or a list of them',
  code: 'E028',
}
const TICK: Omit<Spec, 'what'> = { ...TIME, hint: 'for example 100ms or 60s' }
const LIST: Omit<Spec, 'what'> = { expected: 'a list of entries', whenEmpty: NO_LIST }

/** Keys of an entry that say how its `file` is read. */
export const FEED_KEYS = [
  'format',
  'column',
  'on_bad_line',
  'exclude_private',
  'min_prefix',
  'max_age',
  'max_shrink',
] as const

/** Keyed by `templateOf` a path. */
export const SPECS: Readonly<Record<string, Spec>> = {
  '': {
    what: 'the file',
    expected: 'a mapping that begins with `version: 1`',
    keys: ['version', 'interfaces', 'policy', 'allowlist', 'blocklist', 'services', 'include', 'limits', 'watch'],
  },
  version: {
    what: 'version',
    expected: '1',
    code: 'E016',
    hint: 'write `version: 1`',
    whenMissing: 'write `version: 1`',
  },
  interfaces: {
    what: 'interfaces',
    expected: 'a mapping with one key for each interface',
    whenEmpty: 'name an interface below it, for example `eth0: {}`',
    whenMissing: 'name an interface: `interfaces: { eth0: {} }`',
  },
  'interfaces/*': {
    what: 'an interface',
    expected: 'a mapping, for example `{ mode: native }`, or nothing',
    keys: ['mode', 'on_conflict', 'missing', 'roles'],
  },
  'interfaces/*/mode': {
    what: 'mode',
    expected: 'native, generic or offload, or a list of them',
    words: MODES,
    hint: 'a list is tried in order: [native, generic]',
  },
  'interfaces/*/mode/*': { what: 'mode', expected: 'native, generic or offload', words: MODES },
  'interfaces/*/on_conflict': { what: 'on_conflict', expected: 'fail or replace', words: ['fail', 'replace'] },
  'interfaces/*/missing': { what: 'missing', expected: 'error or skip', words: ['error', 'skip'] },
  'interfaces/*/roles': {
    what: 'roles',
    expected: 'a list of filter and balance, or of one of them',
    hint: 'for example [balance]',
  },
  'interfaces/*/roles/*': { what: 'a role', expected: 'filter or balance', words: ['filter', 'balance'] },
  policy: {
    what: 'policy',
    expected: 'a mapping, for example `{ default: pass }`',
    keys: ['default'],
    whenEmpty: 'write `default: pass` or `default: drop` below it, or remove the key',
  },
  'policy/default': { what: 'default', expected: 'pass or drop', words: ['pass', 'drop'] },
  include: { what: 'include', expected: 'a list of paths', whenEmpty: NO_LIST, hint: 'for example [conf.d/*.yaml]' },
  'include/*': { what: 'a path', expected: 'the path of a config, or a pattern', kindCode: 'E015' },
  limits: {
    what: 'limits',
    expected: 'a mapping, for example `{ prefixes: 1000000 }`',
    keys: ['prefixes', 'flows'],
  },
  'limits/prefixes': { what: 'prefixes', expected: 'a whole number from 1 on', code: 'E013' },
  'limits/flows': { what: 'flows', expected: 'a whole number from 1024 to 67108864', code: 'E013' },
  watch: {
    what: 'watch',
    expected: 'a mapping, for example `{ on_drift: report }`',
    keys: ['debounce', 'resync', 'on_drift', 'on_stop', 'metrics'],
  },
  'watch/debounce': { what: 'debounce', ...TICK },
  'watch/resync': { what: 'resync', ...TICK },
  'watch/on_drift': { what: 'on_drift', expected: 'repair or report', words: ['repair', 'report'] },
  'watch/on_stop': { what: 'on_stop', expected: 'keep or detach', words: ['keep', 'detach'] },
  'watch/metrics': {
    what: 'metrics',
    expected: 'an address and a port',
    code: 'E013',
    kindCode: 'E013',
    hint: 'for example 127.0.0.1:9469 or "[::1]:9469"',
  },
  allowlist: { what: 'allowlist', ...LIST },
  blocklist: { what: 'blocklist', ...LIST },
  'entries/*': {
    ...RANGE,
    expected: 'an address, CIDR, first-last range, or a mapping with cidr, cidrs or file',
    keys: ['cidr', 'cidrs', 'file', ...FEED_KEYS, 'name', 'protocol', 'source_port', 'destination_port', 'comment'],
    whenEmpty: `remove the "-"; ${NO_LIST}`,
  },
  'entries/*/cidr': { ...RANGE, what: 'cidr', hint: 'for several write `cidrs: [192.0.2.1, 192.0.2.0/24]`' },
  'entries/*/cidrs': { what: 'cidrs', expected: 'a list of addresses, CIDRs or ranges', hint: 'for one write `cidr:`' },
  'entries/*/cidrs/*': RANGE,
  'entries/*/file': { what: 'file', expected: 'the path of a list file', kindCode: 'E015' },
  'entries/*/format': { what: 'format', expected: 'auto, plain, jsonl, csv or ipset', words: FORMATS },
  'entries/*/column': { what: 'column', expected: 'the name of a column, or its number from 1', code: 'E013' },
  'entries/*/on_bad_line': { what: 'on_bad_line', expected: 'error or skip', words: ['error', 'skip'] },
  'entries/*/exclude_private': { what: 'exclude_private', expected: 'true or false', code: 'E013' },
  'entries/*/min_prefix': {
    what: 'min_prefix',
    expected: 'a mapping, for example `{ v4: 8, v6: 19 }`',
    keys: ['v4', 'v6'],
  },
  'entries/*/min_prefix/v4': { what: 'v4', expected: 'a prefix length from 0 to 32', code: 'E013' },
  'entries/*/min_prefix/v6': { what: 'v6', expected: 'a prefix length from 0 to 128', code: 'E013' },
  'entries/*/max_age': {
    what: 'max_age',
    expected: 'a whole number with its unit: s, m, h, d or w',
    code: 'E013',
    hint: 'for example 36h or 7d',
  },
  'entries/*/max_shrink': {
    what: 'max_shrink',
    expected: 'a percentage from 0% to 100%',
    code: 'E013',
    hint: 'for example 50%',
  },
  'entries/*/name': {
    what: 'name',
    expected: 'at most 39 letters, digits, ".", "_" and "-", beginning with a letter or digit',
    code: 'E030',
    kindCode: 'E015',
  },
  'entries/*/protocol': {
    what: 'protocol',
    expected: 'tcp, udp, icmp or a number from 0 to 255',
    code: 'E029',
    words: ['tcp', 'udp', 'icmp'],
  },
  'entries/*/source_port': { what: 'source_port', ...PORTS },
  'entries/*/source_port/*': { what: 'source_port', ...PORTS },
  'entries/*/destination_port': { what: 'destination_port', ...PORTS },
  'entries/*/destination_port/*': { what: 'destination_port', ...PORTS },
  'entries/*/comment': { what: 'comment', expected: 'text', kindCode: 'E015' },
  ...SERVICE_SPECS,
}

/** Keys of the top whose mapping or list is of things of one kind. */
const COLLECTIONS: readonly (string | undefined)[] = ['interfaces', 'include', 'services']

/** The key of SPECS for a path: names and indexes become `*`, the names of both lists `entries`. */
export function templateOf(path: readonly string[]): string {
  const isList = path[0] === 'allowlist' || path[0] === 'blocklist'
  return path
    .map((step, index) => {
      if (index === 0) return isList && path.length > 1 ? 'entries' : step
      if (index === 1) return isList || COLLECTIONS.includes(path[0]) ? '*' : step
      return /^\d+$/.test(step) ? '*' : step
    })
    .join('/')
}

/** Where a key belongs, for a known key at the wrong place: `interfaces.NAME`, `policy`, `an entry of a list`. */
export function homeOf(key: string): string | undefined {
  const homes: Readonly<Record<string, string>> = {
    '': 'the top level',
    'interfaces/*': 'an interface',
    policy: 'policy',
    limits: 'limits',
    watch: 'watch',
    'entries/*': 'an entry of a list',
    'services/*': 'a service',
    'services/*/backends/*': 'a backend of a service',
    'services/*/health': 'the health of a service',
  }
  return Object.entries(homes).find(([template]) => SPECS[template]?.keys?.includes(key))?.[1]
}
