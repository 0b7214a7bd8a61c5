// What each place of `services` may hold, in words: a part of SPECS, which spec.ts explains.

import type { Spec } from './place-spec.ts'

const ADDRESS: Omit<Spec, 'what'> = {
  expected: 'an IPv4 or IPv6 address',
  code: 'E020',
  hint: 'for example 192.0.2.10 or "2001:db8::10"',
}
const PORT: Omit<Spec, 'what'> = { expected: 'a port from 1 to 65535', code: 'E028' }
const DURATION: Omit<Spec, 'what'> = {
  expected: 'a whole number with its unit: s, m, h or d',
  code: 'E013',
  hint: 'for example 30s or 5m',
}
/** A time that may be shorter than a second. */
export const TIME: Omit<Spec, 'what'> = {
  expected: 'a whole number with its unit: ms, s, m or h',
  code: 'E013',
  hint: 'for example 500ms or 2s',
}
const COUNT: Omit<Spec, 'what'> = { expected: 'a whole number from 1 to 1000', code: 'E013' }
const TEXT: Omit<Spec, 'what'> = { expected: 'text of at most 1024 characters', code: 'E013', kindCode: 'E015' }
const HEX: Omit<Spec, 'what'> = {
  expected: 'pairs of hex digits, at most 1024 of them',
  code: 'E013',
  kindCode: 'E015',
  hint: 'for example "00ff"',
}
const STATUS: Omit<Spec, 'what'> = {
  expected: 'a status code from 100 to 599, a range such as 200-299, or a list of them',
  code: 'E013',
}

const TYPES = ['tcp', 'http', 'https', 'udp', 'exec']

/** Keys of every kind of check, then those of one kind or another. */
const HEALTH_KEYS = [
  ...['type', 'interval', 'jitter', 'timeout', 'rise', 'fall', 'slow_start', 'port'],
  ...['path', 'host', 'method', 'status', 'body', 'sni', 'verify'],
  ...['send', 'send_hex', 'expect', 'expect_hex'],
  ...['command', 'user'],
]

/** By path below `health`. */
const HEALTH: Readonly<Record<string, Spec>> = {
  type: {
    what: 'type',
    expected: 'tcp, http, https, udp or exec',
    words: TYPES,
    whenMissing: 'write `type: tcp`, http, https, udp or exec',
  },
  interval: { what: 'interval', ...TIME },
  jitter: { what: 'jitter', expected: 'a percentage from 0% to 99%', code: 'E013', hint: 'for example 10%' },
  timeout: { what: 'timeout', ...TIME },
  rise: { what: 'rise', ...COUNT },
  fall: { what: 'fall', ...COUNT },
  slow_start: { what: 'slow_start', ...TIME },
  port: { what: 'port', ...PORT },
  path: { what: 'path', expected: 'a path that begins with "/", without spaces', code: 'E013', kindCode: 'E015' },
  host: { what: 'host', expected: 'a host name, with or without a port', code: 'E013', kindCode: 'E015' },
  method: { what: 'method', expected: 'GET or HEAD', words: ['GET', 'HEAD'] },
  status: { what: 'status', ...STATUS },
  'status/*': { what: 'status', ...STATUS },
  body: { what: 'body', ...TEXT },
  sni: { what: 'sni', expected: 'a host name', code: 'E013', kindCode: 'E015' },
  verify: { what: 'verify', expected: 'true or false', code: 'E013' },
  send: { what: 'send', ...TEXT },
  send_hex: { what: 'send_hex', ...HEX },
  expect: { what: 'expect', ...TEXT },
  expect_hex: { what: 'expect_hex', ...HEX },
  command: {
    what: 'command',
    expected: 'a list of a path and its arguments',
    hint: 'for example [/usr/local/bin/check, --fast]; there is no shell',
  },
  'command/*': { what: 'an argument', expected: 'text', kindCode: 'E015' },
  user: { what: 'user', expected: 'the name of a user', code: 'E013', kindCode: 'E015' },
}

const below = (prefix: string, specs: Readonly<Record<string, Spec>>): Record<string, Spec> =>
  Object.fromEntries(Object.entries(specs).map(([path, spec]) => [`${prefix}/${path}`, spec]))

const SORRY = 'for example `{ address: 10.0.0.99 }`'

/** By path below `services/*`. */
const SERVICE: Readonly<Record<string, Spec>> = {
  vip: {
    what: 'vip',
    ...ADDRESS,
    whenMissing: 'write the address that clients connect to, for example `vip: 192.0.2.10`',
  },
  port: {
    what: 'port',
    expected: 'a port from 1 to 65535, a range such as "8000-8099", or any',
    code: 'E028',
    words: ['any'],
    whenMissing: 'write the port that clients connect to, for example `port: 443`, or `port: any`',
  },
  protocol: {
    what: 'protocol',
    expected: 'tcp or udp',
    words: ['tcp', 'udp'],
    whenMissing: 'write `protocol: tcp` or `protocol: udp`',
  },
  forwarding: {
    what: 'forwarding',
    expected: 'nat, dsr, ipip or gue',
    words: ['nat', 'dsr', 'ipip', 'gue'],
    whenMissing: 'write `forwarding: nat`, dsr, ipip or gue',
  },
  scheduler: { what: 'scheduler', expected: 'maglev or random', words: ['maglev', 'random'] },
  hash: { what: 'hash', expected: 'five_tuple or source', words: ['five_tuple', 'source'] },
  on_empty: { what: 'on_empty', expected: 'drop or pass', words: ['drop', 'pass'] },
  snat: { what: 'snat', expected: 'true or false', code: 'E013' },
  snat_pool: { what: 'snat_pool', expected: 'a list of addresses, CIDRs or ranges' },
  'snat_pool/*': {
    what: 'an element of snat_pool',
    expected: 'an address, CIDR or first-last range',
    code: 'E020',
    hint: 'for example 192.0.2.20 or 192.0.2.22-192.0.2.25',
  },
  gue_port: { what: 'gue_port', ...PORT },
  outer_source: {
    what: 'outer_source',
    expected: 'a mapping, for example `{ v4: 172.16.0.0/16 }`',
    keys: ['v4', 'v6'],
  },
  'outer_source/v4': { what: 'v4', expected: 'an IPv4 prefix of 8 to 32 bits', code: 'E020' },
  'outer_source/v6': { what: 'v6', expected: 'an IPv6 prefix of 64 bits', code: 'E020' },
  udp_timeout: { what: 'udp_timeout', ...DURATION },
  drain_timeout: { what: 'drain_timeout', ...DURATION },
  backends: {
    what: 'backends',
    expected: 'a list of addresses, or of mappings with an address',
    whenEmpty: 'write [] for none',
    whenMissing: 'write `backends: [10.0.0.11, 10.0.0.12]`, or [] for none',
  },
  'backends/*': {
    what: 'a backend',
    expected: 'an address, or a mapping with an address',
    code: 'E020',
    keys: ['address', 'port', 'weight', 'state', 'health'],
    whenEmpty: 'remove the "-"; write [] for none',
    hint: 'for example 10.0.0.11 or { address: 10.0.0.11, weight: 2 }',
  },
  'backends/*/address': {
    what: 'address',
    ...ADDRESS,
    whenMissing: 'write the address of the backend, for example `address: 10.0.0.11`',
  },
  'backends/*/port': { what: 'port', ...PORT },
  'backends/*/weight': { what: 'weight', expected: 'a whole number from 0 to 65535', code: 'E013' },
  'backends/*/state': {
    what: 'state',
    expected: 'active, drain or disabled',
    words: ['active', 'drain', 'disabled'],
  },
  'backends/*/health': {
    what: 'health',
    expected: 'a mapping of what differs from the health of the service, or false',
    code: 'E013',
    keys: HEALTH_KEYS,
  },
  ...below('backends/*/health', HEALTH),
  health: {
    what: 'health',
    expected: 'a mapping, for example `{ type: tcp }`',
    keys: HEALTH_KEYS,
  },
  ...below('health', HEALTH),
  min_healthy: {
    what: 'min_healthy',
    expected: 'a number from 1 on, or a percentage such as 50%',
    code: 'E013',
  },
  fallback: {
    what: 'fallback',
    expected: 'keep_last, sorry or drop',
    words: ['keep_last', 'sorry', 'drop'],
  },
  sorry: { what: 'sorry', expected: 'a mapping with an address', keys: ['address', 'port'], hint: SORRY },
  'sorry/address': { what: 'address', ...ADDRESS, whenMissing: `write the address of the sorry backend, ${SORRY}` },
  'sorry/port': { what: 'port', ...PORT },
}

export const SERVICE_SPECS: Readonly<Record<string, Spec>> = {
  services: {
    what: 'services',
    expected: 'a mapping with one key for each service',
    whenEmpty: 'write {} for none',
  },
  'services/*': {
    what: 'a service',
    expected: 'a mapping with vip, port, protocol, forwarding and backends',
    keys: [...new Set(Object.keys(SERVICE).map((path) => path.split('/')[0] as string))],
  },
  ...below('services/*', SERVICE),
}
