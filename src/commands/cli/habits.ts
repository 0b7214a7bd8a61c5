// Commands and flags of other tools, with what does the same here.

const PLAN = '`xdp plan` shows what `xdp apply` would do, and changes nothing'
const APPROVE = '`--auto-approve` applies without a question'
const PORTS = '`--destination-port` is the port on this side, `--source-port` that of the sender'
const STATUS = '`xdp status` shows the live policy, `xdp list` its entries as a config, `xdp bans` the bans'

const BLOCK = '`xdp ban ADDRESS` drops packets for a time; a `blocklist` entry in the config does so for good'
const CHANGE = '`xdp ban ADDRESS` drops packets for a time; everything else is a line of the config, then `xdp apply`'
const LIFT = '`xdp unban ADDRESS` lifts bans; entries of the config leave with their line, then `xdp apply`'
const ALLOW = 'an `allowlist` entry in the config lets packets pass; then `xdp apply`'
const APPLY = '`xdp apply` brings the kernel to the config'
const DETACH = '`xdp destroy` detaches and removes everything'
const CHECK = '`xdp validate` checks the config, `xdp doctor` the host'
const BEGIN =
  'a config begins with `version: 1` and `interfaces: { eth0: {} }`; `xdp import` makes one from another filter'
const SAVE = '`xdp list` prints the live policy as a config'
const BACK = '`xdp rollback` goes back to an earlier policy; `xdp apply` puts the config in force'
const WHY = '`xdp why ADDRESS` explains the verdict of packets from an address'
const RATES = '`xdp stats --watch` shows live rates'

/** Word → hint, for a command that does not exist. */
export const COMMAND_HABITS: Readonly<Record<string, string>> = {
  version: '`xdp --version` shows the version',
  ls: STATUS,
  show: STATUS,
  log: '`xdp history` lists the applies; `journalctl -u xdp-watch` has the log of the daemon',
  logs: '`xdp history` lists the applies; `journalctl -u xdp-watch` has the log of the daemon',
  monitor: RATES,
  top: RATES,
  counters: RATES,
  info: STATUS,
  get: STATUS,
  check: CHECK,
  lint: CHECK,
  verify: CHECK,
  config: '`xdp validate` checks the config, `xdp schema` describes its keys',
  init: BEGIN,
  new: BEGIN,
  create: BEGIN,
  test: '`xdp validate` checks the config, `xdp why ADDRESS` a verdict',
  trace: WHY,
  explain: WHY,
  lookup: WHY,
  preview: PLAN,
  load: APPLY,
  attach: APPLY,
  up: APPLY,
  enable: APPLY,
  run: APPLY,
  sync: APPLY,
  update: APPLY,
  deploy: APPLY,
  save: SAVE,
  export: SAVE,
  dump: SAVE,
  restore: BACK,
  undo: BACK,
  revert: BACK,
  start: '`xdp apply` puts the config in force, `xdp watch` keeps it in force',
  reload: '`xdp apply` puts an edited config in force',
  restart: '`xdp apply` puts an edited config in force; nothing has to run for that',
  unload: DETACH,
  detach: DETACH,
  down: DETACH,
  disable: DETACH,
  daemon: '`xdp watch` runs as a daemon',
  stop: '`xdp destroy` detaches and removes everything; stopping a daemon changes no policy',
  flush: '`xdp destroy` detaches and removes everything, bans included',
  block: BLOCK,
  deny: BLOCK,
  drop: BLOCK,
  blacklist: BLOCK,
  unblock: LIFT,
  del: LIFT,
  delete: LIFT,
  remove: LIFT,
  rm: LIFT,
  allow: ALLOW,
  accept: ALLOW,
  whitelist: ALLOW,
  add: CHANGE,
  insert: CHANGE,
  set: CHANGE,
}

/** Name of a flag without dashes → hint, for a flag that the command does not have. */
export const FLAG_HABITS: Readonly<Record<string, string>> = {
  'dry-run': PLAN,
  check: PLAN,
  n: PLAN,
  y: APPROVE,
  yes: APPROVE,
  'assume-yes': APPROVE,
  o: '`--json` prints JSON',
  output: '`--json` prints JSON; `xdp plan --out FILE` saves a plan',
  format: '`--json` prints JSON',
  port: PORTS,
  p: '`--protocol` and `--destination-port` describe the packet of `xdp why`',
  dport: '`--destination-port` is the port on this side',
  sport: '`--source-port` is the port of the sender',
  src: 'the source is the argument: `xdp why ADDRESS`',
  source: 'the source is the argument: `xdp why ADDRESS`',
  dst: '`--destination` is the address on this side',
  iface: '`--interface` names the interface',
  i: '`--interface` names the interface',
  dev: '`--interface` names the interface',
  mode: 'the attach mode is a key of the config: `interfaces: { eth0: { mode: native } }`',
  timeout: '`--ttl TIME` ends a ban; `xdp apply --confirm TIME` goes back unless you confirm',
  time: '`--ttl TIME` ends a ban',
  comment: '`--reason TEXT` labels a ban',
  force: 'each refusal names the flag that goes beyond it, such as `--force-cut`',
  watch: '`xdp stats --watch` shows live rates; `xdp watch` is the daemon',
  fix: '`xdp doctor` prints the command that fixes each problem; run it yourself',
  c: '`-f FILE` names the config',
  config: '`-f FILE` names the config',
  V: '`--version` shows the version',
  v: '`--version` shows the version; `xdp plan --full` shows all of a plan',
  verbose: '`xdp plan --full` shows all of a plan, `xdp plan --commands` what it would run',
  q: '`xdp plan --summary` shows one line for each object',
}
