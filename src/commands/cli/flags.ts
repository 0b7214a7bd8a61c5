import type { FlagSpecs } from './flag.ts'
// Every flag there is.

/** Accepted by every command, before or after its name. */
export const GLOBAL_FLAGS = {
  file: {
    type: 'string',
    short: 'f',
    value: 'FILE',
    help: 'the config; default: ./xdp.yaml, then /etc/xdp/xdp.yaml',
    completes: 'file',
  },
  bpffs: { type: 'string', value: 'DIR', help: 'where bpffs is mounted; default: /sys/fs/bpf', completes: 'directory' },
  instance: {
    type: 'string',
    value: 'NAME',
    help: 'which set of objects to work on; default: default',
    completes: 'instance',
  },
  json: { type: 'boolean', help: 'one JSON document on stdout, errors included' },
  'no-color': { type: 'boolean', help: 'no colour; NO_COLOR, FORCE_COLOR and TERM=dumb are heeded too' },
  'no-input': { type: 'boolean', help: 'never ask' },
  'lock-timeout': {
    type: 'string',
    value: 'TIME',
    help: 'how long to wait for another xdp that is at work; default: 30s',
  },
  debug: { type: 'boolean', help: 'show the stack of unexpected errors' },
  help: { type: 'boolean', short: 'h', help: 'show help and exit' },
  version: { type: 'boolean', help: 'show the version and exit' },
} as const satisfies FlagSpecs

export const NO_FLAGS = {} as const satisfies FlagSpecs

const FEED_FLAGS = {
  'accept-shrink': { type: 'boolean', help: 'take feeds that are too old (max_age) or lost too much (max_shrink)' },
} as const satisfies FlagSpecs

export const PLAN_FLAGS = {
  ...FEED_FLAGS,
  'detailed-exitcode': { type: 'boolean', help: 'exit 2 when there are changes, 0 when there are none' },
  full: { type: 'boolean', help: 'list every prefix of a changed list, not five' },
  summary: { type: 'boolean', help: 'one line for each object' },
  commands: { type: 'boolean', help: 'also show the bpftool and ip commands that do the same' },
  target: {
    type: 'string',
    multiple: true,
    value: 'KIND:NAME',
    help: 'show only this object (repeatable): interface:NAME, blocklist:NAME, allowlist:NAME, service:NAME, policy or program',
    completes: ['policy', 'program', 'interface:', 'blocklist:', 'allowlist:', 'service:'],
  },
} as const satisfies FlagSpecs

export const APPROVE_FLAGS = {
  'auto-approve': { type: 'boolean', help: 'do not ask; needed where stdin is no terminal' },
} as const satisfies FlagSpecs

export const APPLY_FLAGS = {
  ...APPROVE_FLAGS,
  ...FEED_FLAGS,
  'wait-interfaces': {
    type: 'string',
    value: 'TIME',
    help: 'first wait until the interfaces of the config exist, but not longer: for use at boot',
  },
} as const satisfies FlagSpecs

export const BAN_FLAGS = {
  ttl: { type: 'string', value: 'TIME', help: 'for how long: 30s, 10m, 1h, 7d, 2w; default: until it is lifted' },
  reason: { type: 'string', value: 'TEXT', help: 'why, for those who look at it later; at most 55 bytes' },
  by: { type: 'string', value: 'NAME', help: 'who or what bans; at most 23 bytes' },
  stdin: { type: 'boolean', help: 'read from stdin, one a line: ADDRESS [TIME]' },
  force: { type: 'boolean', help: 'ban even what would lock you out' },
} as const satisfies FlagSpecs

export const WATCH_FLAGS = {
  debounce: {
    type: 'string',
    value: 'TIME',
    help: 'how long files must be left alone after an edit; default: watch.debounce of the config, else 100ms',
  },
  metrics: {
    type: 'string',
    value: 'ADDR:PORT',
    help: 'where metrics are served, such as 127.0.0.1:9469; default: watch.metrics of the config, else nowhere',
  },
} as const satisfies FlagSpecs

export const UNBAN_FLAGS = {
  stdin: { type: 'boolean', help: 'read from stdin, one a line: ADDRESS, and what follows it in lists for `ban`' },
} as const satisfies FlagSpecs

export const STATS_FLAGS = {
  watch: { type: 'boolean', help: 'show rates until q is pressed; one snapshot where stdout is no terminal' },
  interval: { type: 'string', value: 'TIME', help: 'how often --watch looks; default: 1s' },
  format: {
    type: 'string',
    value: 'FORMAT',
    help: 'text or prometheus; default: text',
    completes: ['text', 'prometheus'],
  },
  output: { type: 'string', value: 'FILE', help: 'write the result there, in one go', completes: 'file' },
} as const satisfies FlagSpecs

export const WHY_FLAGS = {
  protocol: {
    type: 'string',
    value: 'PROTOCOL',
    help: 'tcp, udp, icmp or a number; tcp or udp is needed with ports',
    completes: ['tcp', 'udp', 'icmp'],
  },
  'source-port': { type: 'string', value: 'PORT', help: 'port it comes from' },
  destination: { type: 'string', value: 'ADDRESS', help: 'address it goes to' },
  'destination-port': { type: 'string', value: 'PORT', help: 'port it goes to' },
  interface: { type: 'string', value: 'NAME', help: 'interface it arrives on', completes: 'interface' },
} as const satisfies FlagSpecs

export const IMPORT_FLAGS = {
  from: {
    type: 'string',
    value: 'TOOL',
    help: 'whose settings to read: ipset, nft, xdp-filter or iptables',
    completes: ['ipset', 'nft', 'xdp-filter', 'iptables'],
  },
  interface: {
    type: 'string',
    multiple: true,
    value: 'NAME',
    help: 'an interface to filter (repeatable)',
    completes: 'interface',
  },
  output: {
    type: 'string',
    value: 'DIR',
    help: 'write xdp.yaml and its list files there; default: print the config',
    completes: 'directory',
  },
  force: { type: 'boolean', help: 'replace files that exist' },
  strict: { type: 'boolean', help: 'exit 1 and write nothing where something cannot be imported exactly' },
} as const satisfies FlagSpecs
