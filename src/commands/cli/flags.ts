// All flags.

import type { FlagSpecs } from './flag.ts'

/** Flags of every command, before or after its name. */
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
    help: 'name of the set of objects to work on; default: default',
    completes: 'instance',
  },
  json: { type: 'boolean', help: 'print one JSON document to stdout, errors included' },
  'no-color': { type: 'boolean', help: 'disable colour; NO_COLOR, FORCE_COLOR and TERM=dumb also work' },
  'no-input': { type: 'boolean', help: 'never prompt' },
  'lock-timeout': {
    type: 'string',
    value: 'TIME',
    help: 'how long to wait for the lock of another xdp; default: 30s',
  },
  'allow-insecure-permissions': {
    type: 'boolean',
    help: 'as root, use config and list files that other users can change',
  },
  debug: { type: 'boolean', help: 'show the stack of unexpected errors' },
  help: { type: 'boolean', short: 'h', help: 'show help and exit' },
  version: { type: 'boolean', help: 'show the version and exit' },
} as const satisfies FlagSpecs

export const NO_FLAGS = {} as const satisfies FlagSpecs

export const FEED_FLAGS = {
  'accept-shrink': {
    type: 'boolean',
    help: 'accept feeds that are older than max_age or shrank by more than max_shrink',
  },
  'accept-growth': {
    type: 'boolean',
    help: 'accept feeds that grew by more than max_growth, or by a sixteenth of all addresses',
  },
} as const satisfies FlagSpecs

export const FETCH_FLAGS = {
  'accept-shrink': { type: 'boolean', help: 'accept contents that have lost more than max_shrink of their prefixes' },
} as const satisfies FlagSpecs

export const REACH_FLAGS = {
  'accept-removed': { type: 'boolean', help: 'remove more prefixes than limits.max_removed permits' },
  'accept-blocked': { type: 'boolean', help: 'block more addresses than limits.max_blocked permits' },
  'accept-wide': { type: 'boolean', help: 'accept blocklist entries that are wider than limits.widest permits' },
} as const satisfies FlagSpecs

export const CUT_FLAGS = {
  'allow-cut': {
    type: 'string',
    multiple: true,
    value: 'WHAT',
    help: 'cut these peers although they are guarded (repeatable): ssh, gateway, dns, or an address or CIDR',
    completes: ['ssh', 'gateway', 'dns'],
  },
  'force-cut': { type: 'boolean', help: 'cut any live connection and guarded peer' },
} as const satisfies FlagSpecs

export const DIFF_FLAGS = {
  'detailed-exitcode': { type: 'boolean', help: 'exit 2 if there are changes, 0 if there are none' },
  full: { type: 'boolean', help: 'show all prefixes of a changed list instead of five' },
  summary: { type: 'boolean', help: 'show one line per object' },
} as const satisfies FlagSpecs

export const PLAN_FLAGS = {
  ...FEED_FLAGS,
  ...REACH_FLAGS,
  ...CUT_FLAGS,
  ...DIFF_FLAGS,
  'detailed-exitcode': {
    type: 'boolean',
    help: 'exit 2 if there are changes (with --drift-only: drift), 0 if there are none',
  },
  'drift-only': { type: 'boolean', help: 'show only what other tools changed since the last apply' },
  against: {
    type: 'string',
    value: 'FILE',
    help: 'plan without the kernel: against a state of `xdp status --state`, or from another config to this one',
    completes: 'file',
  },
  commands: { type: 'boolean', help: 'also show the equivalent bpftool and ip commands' },
  out: {
    type: 'string',
    value: 'FILE',
    help: 'also save the plan, for `xdp apply FILE`; only its owner can read the file',
    completes: 'file',
  },
  target: {
    type: 'string',
    multiple: true,
    value: 'KIND:NAME',
    help: 'show only this object (repeatable): interface:NAME, blocklist:NAME, allowlist:NAME, rate_limit:NAME, service:NAME, policy or program',
    completes: ['policy', 'program', 'interface:', 'blocklist:', 'allowlist:', 'rate_limit:', 'service:'],
  },
} as const satisfies FlagSpecs

export const STATUS_FLAGS = {
  state: {
    type: 'string',
    value: 'FILE',
    help: 'export everything that a plan needs, for --against of `xdp plan` and `xdp why`; - for stdout in place of the status',
    completes: 'file',
  },
} as const satisfies FlagSpecs

/** Of commands that print a config, or write it. */
const WRITE_FLAGS = {
  output: {
    type: 'string',
    value: 'DIR',
    help: 'write xdp.yaml and its list files to this directory; default: print the config',
    completes: 'directory',
  },
  force: { type: 'boolean', help: 'replace existing files' },
} as const satisfies FlagSpecs

export const LIST_FLAGS = {
  ...WRITE_FLAGS,
  secrets: { type: 'boolean', help: 'also write balancer.hash_key' },
} as const satisfies FlagSpecs

export const APPROVE_FLAGS = {
  'auto-approve': { type: 'boolean', help: 'do not ask for approval; required if stdin is not a terminal' },
} as const satisfies FlagSpecs

const WAIT_FLAGS = {
  confirm: {
    type: 'string',
    value: 'TIME',
    help: 'put the previous policy back unless `xdp confirm` arrives within this time; off: wait for none; default: limits.confirm of the config, else off',
    completes: ['off'],
  },
  'confirm-on': {
    type: 'string',
    value: 'WHAT',
    help: 'ssh: a new SSH connection from the address of this session also confirms; needs a time to confirm',
    completes: ['ssh'],
  },
} as const satisfies FlagSpecs

export const APPLY_FLAGS = {
  ...APPROVE_FLAGS,
  ...FEED_FLAGS,
  ...REACH_FLAGS,
  ...CUT_FLAGS,
  reclaim: {
    type: 'boolean',
    help: 'replace programs of xdp whose pins are lost, as after the bpffs was unmounted',
  },
  ...WAIT_FLAGS,
  boot: {
    type: 'boolean',
    help: 'for the unit that runs at boot: if the file is that of an apply that was not confirmed or was rolled back, apply the last confirmed policy',
  },
  'wait-interfaces': {
    type: 'string',
    value: 'TIME',
    help: 'wait up to this long for the interfaces of the config; for use at boot',
  },
} as const satisfies FlagSpecs

export const ROLLBACK_FLAGS = {
  ...APPROVE_FLAGS,
  ...FEED_FLAGS,
  ...REACH_FLAGS,
  ...CUT_FLAGS,
  ...WAIT_FLAGS,
} as const satisfies FlagSpecs

export const CONFIRM_FLAGS = {
  extend: { type: 'string', value: 'TIME', help: 'do not confirm yet, but set the deadline to this time from now' },
  cancel: { type: 'boolean', help: 'put the previous policy back now' },
} as const satisfies FlagSpecs

export const BAN_FLAGS = {
  ttl: {
    type: 'string',
    value: 'TIME',
    help: 'duration of the ban: 30s, 10m, 1h, 7d, 2w; default: until it is lifted',
  },
  for: { type: 'string', value: 'TIME', help: 'same as --ttl' },
  reason: { type: 'string', value: 'TEXT', help: 'reason, shown by `xdp bans`; at most 55 bytes' },
  by: { type: 'string', value: 'NAME', help: 'author, shown by `xdp bans`; at most 23 bytes' },
  observe: { type: 'boolean', help: 'count packets that it would drop, and let them go on' },
  stdin: { type: 'boolean', help: 'read lines of ADDRESS [TIME] from stdin' },
  ...CUT_FLAGS,
  'force-cut': {
    type: 'boolean',
    help: 'cut any live connection and guarded peer, and ban addresses of this host too',
  },
  force: { type: 'boolean', help: 'the earlier name of --force-cut' },
} as const satisfies FlagSpecs

export const WATCH_FLAGS = {
  ...CUT_FLAGS,
  debounce: {
    type: 'string',
    value: 'TIME',
    help: 'how long to wait after the last write of an edit; default: watch.debounce of the config, else 100ms',
  },
  metrics: {
    type: 'string',
    value: 'ADDR:PORT',
    help: 'serve metrics on this address, such as 127.0.0.1:9469; default: watch.metrics of the config, else none',
  },
} as const satisfies FlagSpecs

export const DOCTOR_FLAGS = {
  'backend-script': {
    type: 'string',
    value: 'SERVICE',
    help: 'instead, print a shell script that checks a machine as a backend of this service',
  },
} as const satisfies FlagSpecs

export const BANS_FLAGS = {
  by: { type: 'string', value: 'NAME', help: 'list only bans of this author' },
} as const satisfies FlagSpecs

export const UNBAN_FLAGS = {
  all: { type: 'boolean', help: 'lift every ban' },
  by: { type: 'string', value: 'NAME', help: 'lift only bans of this author: all of them, or that of ADDRESS' },
  reason: { type: 'string', value: 'TEXT', help: 'lift only bans with exactly this reason' },
  stdin: { type: 'boolean', help: 'read lines of ADDRESS from stdin; ignores times, so lists for `ban` work' },
} as const satisfies FlagSpecs

export const STATS_FLAGS = {
  watch: { type: 'boolean', help: 'show rates until q is pressed; one snapshot if stdout is not a terminal' },
  interval: { type: 'string', value: 'TIME', help: 'refresh interval of --watch; default: 1s' },
  format: {
    type: 'string',
    value: 'FORMAT',
    help: 'text or prometheus; default: text',
    completes: ['text', 'prometheus'],
  },
  output: { type: 'string', value: 'FILE', help: 'write to a file, atomically', completes: 'file' },
} as const satisfies FlagSpecs

export const WHY_FLAGS = {
  protocol: {
    type: 'string',
    value: 'PROTOCOL',
    help: 'tcp, udp, icmp, gre, esp, ah, sctp or a number; ports require tcp or udp',
    completes: ['tcp', 'udp', 'icmp', 'gre', 'esp', 'ah', 'sctp'],
  },
  'source-port': { type: 'string', value: 'PORT', help: 'source port of the packet' },
  destination: { type: 'string', value: 'ADDRESS', help: 'destination address of the packet' },
  'destination-port': { type: 'string', value: 'PORT', help: 'destination port of the packet' },
  'tcp-flags': { type: 'string', value: 'FLAGS', help: 'flags that are set, such as syn or fin,ack; default: syn' },
  'icmp-type': { type: 'string', value: 'TYPE', help: 'ICMP type, by name or number; default: echo-request' },
  'icmp-code': { type: 'string', value: 'CODE', help: 'ICMP code, a number; default: 0' },
  length: {
    type: 'string',
    value: 'BYTES',
    help: 'length of the IP packet with its headers; default: the headers alone',
  },
  ttl: { type: 'string', value: 'NUMBER', help: 'TTL or hop limit; default: 64' },
  dscp: { type: 'string', value: 'CODEPOINT', help: 'DSCP, by name or number; default: 0' },
  fragment: {
    type: 'string',
    value: 'WHICH',
    help: 'make the packet a fragment: first or later',
    completes: ['first', 'later'],
  },
  vlan: { type: 'string', value: 'NUMBER', help: 'VLAN ID of the frame' },
  interface: { type: 'string', value: 'NAME', help: 'interface on which the packet arrives', completes: 'interface' },
  offline: { type: 'boolean', help: 'answer by the config alone; needs neither root nor a kernel' },
  against: {
    type: 'string',
    value: 'STATE',
    help: 'answer for the host of an exported state, a file of `xdp status --state` or - for stdin; needs neither root nor a kernel',
    completes: 'file',
  },
} as const satisfies FlagSpecs

export const IMPORT_FLAGS = {
  from: {
    type: 'string',
    value: 'TOOL',
    help: 'tool whose settings to read: ipset, nft, xdp-filter, iptables, keepalived or ipvsadm',
    completes: ['ipset', 'nft', 'xdp-filter', 'iptables', 'keepalived', 'ipvsadm'],
  },
  interface: {
    type: 'string',
    multiple: true,
    value: 'NAME',
    help: 'an interface of the config (repeatable)',
    completes: 'interface',
  },
  ...WRITE_FLAGS,
  strict: { type: 'boolean', help: 'exit 1 and write nothing if a setting cannot be imported exactly' },
  ignore: {
    type: 'string',
    multiple: true,
    value: 'WHAT',
    help: 'a difference to accept (repeatable): state, forwarding or fragments of a filter; services, checks, persistence or thresholds of a balancer',
    completes: ['state', 'forwarding', 'fragments', 'services', 'checks', 'persistence', 'thresholds'],
  },
} as const satisfies FlagSpecs
