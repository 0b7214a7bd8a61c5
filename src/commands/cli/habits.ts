// Commands and flags of other tools, with what does the same here.

const PLAN = '`xdp plan` shows what `xdp apply` would do, and changes nothing'
const APPROVE = '`--auto-approve` applies without a question'
const PORTS = '`--destination-port` is the port on this side, `--source-port` that of the sender'
const STATUS = '`xdp status` shows the live policy, `xdp list` its entries as a config, `xdp bans` the bans'

/** Word → hint, for a command that does not exist. */
export const COMMAND_HABITS: Readonly<Record<string, string>> = {
  version: '`xdp --version` shows the version',
  ls: STATUS,
  show: STATUS,
  log: '`xdp history` lists the applies; `journalctl -u xdp-watch` has the log of the daemon',
  logs: '`xdp history` lists the applies; `journalctl -u xdp-watch` has the log of the daemon',
  monitor: '`xdp stats --watch` shows live rates',
  check: '`xdp validate` checks the config, `xdp doctor` the host',
  test: '`xdp validate` checks the config, `xdp why ADDRESS` a verdict',
  load: '`xdp apply` brings the kernel to the config',
  start: '`xdp apply` puts the config in force, `xdp watch` keeps it in force',
  reload: '`xdp apply` puts an edited config in force',
  restart: '`xdp apply` puts an edited config in force; nothing has to run for that',
  unload: '`xdp destroy` detaches and removes everything',
  stop: '`xdp destroy` detaches and removes everything; stopping a daemon changes no policy',
  flush: '`xdp destroy` detaches and removes everything, bans included',
  block: '`xdp ban ADDRESS` drops packets for a time; a `blocklist` entry in the config does so for good',
  deny: '`xdp ban ADDRESS` drops packets for a time; a `blocklist` entry in the config does so for good',
  unblock: '`xdp unban ADDRESS` lifts bans; entries of the config leave with their line',
  add: '`xdp ban ADDRESS` drops packets for a time; everything else is a line of the config, then `xdp apply`',
}

/** Name of a flag without dashes → hint, for a flag that does not exist. */
export const FLAG_HABITS: Readonly<Record<string, string>> = {
  'dry-run': PLAN,
  check: PLAN,
  n: PLAN,
  y: APPROVE,
  yes: APPROVE,
  'assume-yes': APPROVE,
  o: '`--json` prints JSON',
  output: '`--json` prints JSON',
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
  fix: '`xdp doctor` prints the command that fixes each problem; run it yourself',
  c: '`-f FILE` names the config',
  config: '`-f FILE` names the config',
  V: '`--version` shows the version',
  v: '`--version` shows the version; `xdp plan --full` shows all of a plan',
  verbose: '`xdp plan --full` shows all of a plan, `xdp plan --commands` what it would run',
  q: '`xdp plan --summary` shows one line for each object',
}
