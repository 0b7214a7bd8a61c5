// The table of commands, in the order of `xdp help`. Commands are glue and decide nothing.

import {
  APPLY_FLAGS,
  APPROVE_FLAGS,
  BAN_FLAGS,
  BANS_FLAGS,
  CONFIRM_FLAGS,
  DOCTOR_FLAGS,
  IMPORT_FLAGS,
  NO_FLAGS,
  PLAN_FLAGS,
  STATS_FLAGS,
  STATUS_FLAGS,
  UNBAN_FLAGS,
  WATCH_FLAGS,
  WHY_FLAGS,
} from './cli/flags.ts'
import { SCHEMA_NAMES } from './cli/schema-names.ts'
import { type CommandSpec, command, GUARD } from './cli/specification.ts'
import { FETCH_COMMANDS } from './table-fetch.ts'
import { HISTORY_COMMANDS } from './table-history.ts'
import { LIST_COMMANDS } from './table-list.ts'

export const COMMANDS: readonly CommandSpec[] = [
  command({
    name: 'validate',
    summary: 'check the config; needs neither root nor a kernel',
    description: [
      'Checks the config and every file it names, and reports all mistakes at once. Exits 78 on a mistake.',
    ],
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp validate', does: 'check ./xdp.yaml' },
      {
        line: 'xdp validate -f site.yaml --json',
        does: 'check another file, with JSON output for editors and pipelines',
      },
    ],
    load: () => import('./verbs/validate.ts'),
  }),
  command({
    name: 'plan',
    summary: 'show what apply would do, and change nothing',
    description: [
      'Compares the config with the live kernel. Signs: + creates, ~ updates, - deletes, -/+ replaces (filtering is interrupted), ! marks drift: changes since the last apply by other tools.',
      'Each change states its impact on traffic: hitless, new-flows (new flows move to other backends), cuts N connections (live ones of this host), link-bounce (the driver may reset its rings) or traffic-gap (packets pass unfiltered for a moment).',
    ],
    flags: PLAN_FLAGS,
    examples: [
      { line: 'xdp plan', does: 'show the changes' },
      { line: 'xdp plan --out plan.json', does: 'save the plan, to apply it after a review' },
      { line: 'xdp plan --detailed-exitcode', does: 'exit 2 when there are changes, for scripts' },
      { line: 'xdp plan --drift-only --detailed-exitcode', does: 'exit 2 if another tool changed the live state' },
      { line: 'xdp plan --target blocklist:spamhaus --full', does: 'show every prefix that one list gains or loses' },
      { line: 'xdp plan --against state.json', does: 'plan for the host of an exported state, without root' },
      { line: 'xdp plan -f new.yaml --against old.yaml', does: 'show what changes from one config to another' },
      { line: 'xdp plan --commands', does: 'show the equivalent bpftool and ip commands' },
    ],
    usesHistory: true,
    load: () => import('./verbs/plan.ts'),
  }),
  command({
    name: 'apply',
    summary: 'bring the kernel to the config, and verify it',
    description: [
      'Shows the plan, asks for approval, builds the new tables beside the live ones, tests them with packets, switches, reads back and tests again. A packet meets the old policy or the new one, never a mix. A failure before the switch changes nothing; a failure after it is rolled back.',
      'Refuses with exit 4 to cut an SSH session, the default gateway, a resolver or a prefix of `protect`, unless --allow-cut names it.',
      'If the kernel already matches the config, apply writes nothing and exits 0 without asking.',
      'With PLAN, a file of `xdp plan --out`, applies exactly that plan without asking. Refuses it with exit 4 and names each difference if a file or the live state has changed since, or if it was made for another host, boot, namespace, instance or build.',
      'With --confirm the previous policy stays loaded, and a guardian puts it back at the deadline unless `xdp confirm` arrives: after an edit that cuts off your own connection, wait. On a terminal apply counts down and asks; else it prints the id and the deadline, and exits 0. Another apply is refused meanwhile.',
      'With --confirm-on ssh, a new SSH connection from the address of the session that runs apply confirms as well: log in again, and the policy stays.',
    ],
    argument: {
      name: 'PLAN',
      required: false,
      help: 'a plan that `xdp plan --out` saved; default: make the plan now',
      completes: 'file',
    },
    flags: APPLY_FLAGS,
    examples: [
      { line: 'xdp apply', does: 'show the plan, ask, apply' },
      { line: 'xdp apply plan.json', does: 'apply a saved plan that was reviewed' },
      { line: 'xdp apply -f site.yaml --auto-approve', does: 'apply from a script' },
      { line: 'xdp apply --confirm 2m', does: 'apply over SSH; the old policy returns if you do not confirm' },
      { line: 'xdp apply --confirm 2m --confirm-on ssh', does: 'apply over SSH; logging in again confirms' },
      { line: 'xdp apply --auto-approve --boot --wait-interfaces 30s', does: 'apply at boot' },
    ],
    usesHistory: true,
    load: () => import('./verbs/apply.ts'),
  }),
  command({
    name: 'confirm',
    summary: 'keep the policy of `xdp apply --confirm`',
    description: [
      'Ends the wait of the last apply: the policy stays, and the previous generation is freed. Exits 1 if no apply waits for a confirmation, with the time at which the previous policy returned.',
    ],
    flags: CONFIRM_FLAGS,
    examples: [
      { line: 'xdp confirm', does: 'keep the new policy' },
      { line: 'xdp confirm --extend 10m', does: 'decide later' },
      { line: 'xdp confirm --cancel', does: 'put the previous policy back now' },
    ],
    isCacheless: true,
    usesHistory: true,
    load: () => import('./verbs/confirm.ts'),
  }),
  ...HISTORY_COMMANDS,
  ...FETCH_COMMANDS,
  command({
    name: 'watch',
    summary: 'run as a daemon: apply every edit and repair drift',
    description: [
      'Runs until it is stopped. Applies every edit of the config and of the files it names, and repairs drift. Reports an invalid config once, and keeps the last valid policy in force until the config is fixed.',
      'The programs stay attached after a stop, unless watch.on_stop says otherwise. SIGHUP reloads the config. Logs one event per line, as text on a terminal and in the journal, elsewhere as JSON. Beside a daemon, `xdp destroy` and `xdp apply` of another config exit 75; all other commands work.',
    ],
    flags: WATCH_FLAGS,
    examples: [
      { line: 'xdp watch', does: 'follow ./xdp.yaml, or /etc/xdp/xdp.yaml' },
      { line: 'xdp watch -f site.yaml --json | jq -r .message', does: 'pass the events to a program' },
    ],
    usesHistory: true,
    load: () => import('./verbs/watch.ts'),
  }),
  command({
    name: 'status',
    summary: 'show the live state: interfaces, lists, services, counters',
    description: [
      'Reads only the kernel, not the config. --state also writes a file with everything that a plan needs, so that `xdp plan --against` can plan for this host on another machine, without root and without BPF.',
    ],
    flags: STATUS_FLAGS,
    examples: [
      { line: 'xdp status', does: 'show attachments, lists, services and counters' },
      { line: 'xdp status --state - > state.json', does: 'export the live state, for plans elsewhere' },
      { line: "xdp status --json | jq '.lists[].packets'", does: 'get counters for a script' },
    ],
    usesHistory: true,
    load: () => import('./verbs/status.ts'),
  }),
  ...LIST_COMMANDS,
  command({
    name: 'stats',
    summary: 'show counters, rates, and the fill of tables',
    description: [
      'Shows packets and bytes by verdict, reason, interface, list, service and backend; the fill of bans, lists and other tables; and kernel memory. Reads no address table, so the length of lists does not matter. --watch shows rates.',
      'With -f FILE also shows the digest and age of the config, and the age of its feeds.',
    ],
    flags: STATS_FLAGS,
    examples: [
      { line: 'xdp stats', does: 'show all counters' },
      { line: 'xdp stats --watch', does: 'show live rates; q quits' },
      {
        line: 'xdp stats --format prometheus --output /var/lib/node-exporter/xdp.prom',
        does: "write metrics for node_exporter's textfile collector",
      },
    ],
    load: () => import('./verbs/stats.ts'),
  }),
  command({
    name: 'why',
    summary: 'explain the verdict of packets from an address',
    description: [
      'Shows the verdict of such a packet in the kernel and by the config, with the list, prefix and config line that decide it. Proves the live verdict by running a test packet through the loaded program. Exits 0 whatever the verdict.',
      'If the live state cannot be read, for example without root, -f FILE answers by the file alone; --offline always does. --against STATE answers for the host of an exported state, and lists what that state cannot say.',
    ],
    argument: { name: 'ADDRESS', required: true, help: 'source address of the packet, IPv4 or IPv6' },
    flags: WHY_FLAGS,
    examples: [
      { line: 'xdp why 203.0.113.9', does: 'is this address blocked, and by which list?' },
      { line: 'xdp why 203.0.113.9 --protocol udp --source-port 53', does: 'is a DNS answer from it blocked?' },
      { line: 'xdp why 203.0.113.9 -f new.yaml --offline', does: 'what would this file do with it?' },
      { line: 'xdp why 203.0.113.9 --against state.json', does: 'what did the host of this state do with it?' },
    ],
    load: () => import('./verbs/why.ts'),
  }),
  command({
    name: 'ban',
    summary: 'drop all packets from addresses, for a time',
    description: [
      'Bans are not part of the config: no plan shows them, no apply removes them, and they survive edits and program updates. A ban holds from the next packet until its time is over. The allowlist beats a ban. Banning a banned address again replaces its time, reason and author. With --observe packets are only counted, under the reason ban-observed, and go on.',
      'Refuses with exit 4, unless --allow-cut or --force-cut is given, a ban that would cut a live SSH session, the default gateway, a resolver, or a source that `protect` of the live policy lists, and one that covers an address of this host. Bans the other addresses. If one argument is not an address or CIDR, bans none. Warns of addresses that the allowlist passes anyway.',
    ],
    argument: {
      name: 'ADDRESS',
      required: false,
      multiple: true,
      help: 'IPv4 or IPv6 address or CIDR; not with --stdin',
    },
    flags: BAN_FLAGS,
    examples: [
      { line: 'xdp ban 203.0.113.9 --ttl 1h --reason ssh-guesses', does: 'ban an address for an hour' },
      { line: 'xdp ban 203.0.113.9 198.51.100.7 --for 10m', does: 'ban two addresses for ten minutes' },
      { line: 'xdp ban 2001:db8:7::/48', does: 'ban a network until `xdp unban`' },
      { line: 'xdp ban 198.51.100.0/24 --observe --ttl 1d', does: 'count what a ban would drop, before it does' },
      { line: 'xdp ban --stdin --ttl 1d < bad.txt', does: 'ban every address in a file or a stream' },
    ],
    isCacheless: true,
    load: () => import('./verbs/ban.ts'),
  }),
  command({
    name: 'unban',
    summary: 'lift a ban',
    description: [
      'Lifts the bans of exactly these addresses or CIDRs. Exits 0 even if one of them is not banned.',
      'With --by or --reason, lifts only bans that carry these labels: a program lifts its own bans, not those of others. Without ADDRESS, lifts all of them; --all lifts every ban.',
    ],
    argument: {
      name: 'ADDRESS',
      required: false,
      multiple: true,
      help: 'address or CIDR, as it was banned; not with --stdin or --all',
    },
    flags: UNBAN_FLAGS,
    examples: [
      { line: 'xdp unban 203.0.113.9', does: 'lift the ban of an address' },
      { line: 'xdp unban --by fail2ban --reason "jail sshd"', does: 'lift all bans of one author with one reason' },
      { line: 'xdp unban --stdin < pardoned.txt', does: 'lift the bans of all addresses in a file or a stream' },
    ],
    isCacheless: true,
    load: () => import('./verbs/unban.ts'),
  }),
  command({
    name: 'bans',
    summary: 'list the bans in force',
    description: ['Lists bans by address, with remaining time, author and reason.'],
    flags: BANS_FLAGS,
    examples: [
      { line: 'xdp bans', does: 'list all bans' },
      { line: 'xdp bans --by fail2ban', does: 'list the bans of one author' },
      { line: "xdp bans --json | jq -r '.bans[].prefix'", does: 'get the banned prefixes for a script' },
    ],
    isCacheless: true,
    load: () => import('./verbs/bans.ts'),
  }),
  command({
    name: 'destroy',
    summary: 'detach and remove all objects of this instance',
    description: [
      'Shows the objects, asks for approval, and removes them. Leaves programs and maps of other tools alone.',
    ],
    flags: APPROVE_FLAGS,
    examples: [{ line: 'xdp destroy --auto-approve', does: 'remove everything without asking' }],
    usesHistory: true,
    load: () => import('./verbs/destroy.ts'),
  }),
  command({
    name: 'doctor',
    summary: 'check whether this host can run the config',
    description: [
      'Checks the kernel, tools, permissions, bpffs and every interface, and prints a fix for each problem. Exits 1 when a check fails, 0 when there are only warnings.',
      'With --backend-script prints a POSIX shell script, to be run on a backend: it checks the VIP, ARP settings, decapsulation, rp_filter and servers there, needs ip of iproute2 and not xdp, and changes nothing.',
    ],
    flags: DOCTOR_FLAGS,
    examples: [
      { line: 'xdp doctor', does: 'run all checks' },
      { line: 'xdp doctor --backend-script web | ssh root@10.0.0.11 sh', does: 'check a backend of service web' },
    ],
    load: () => import('./verbs/doctor.ts'),
  }),
  command({
    name: 'import',
    summary: 'make a config from another filter, or from keepalived or IPVS',
    description: [
      'Reads the rules of another filter, from its tool or from a file with the output of that tool, and writes a config that drops and accepts the same source addresses. Leaves out rules that a config cannot express exactly, with one warning each. Changes nothing in the kernel.',
      'Reads: `ipset save`, `nft -j list ruleset`, `iptables-save` with `ip6tables-save` and `ipset save`, `xdp-filter status`.',
      'From a balancer (`keepalived.conf`, `ipvsadm -S -n`) it makes services with their backends and health checks. If packets would go elsewhere than before, it writes nothing and exits 4, unless --ignore accepts the difference.',
    ],
    argument: {
      name: 'FILE',
      required: false,
      help: 'output of the tool or keepalived.conf, - for stdin; default: run the tool',
      completes: 'file',
    },
    flags: IMPORT_FLAGS,
    examples: [
      { line: 'xdp import --from nft --interface eth0', does: 'print a config equivalent to the nftables rules' },
      {
        line: 'xdp import --from ipset sets.txt --output site',
        does: 'import saved sets; long ones become list files',
      },
      {
        line: 'xdp import --from iptables --strict --output /etc/xdp',
        does: 'write a config only if every rule can be imported',
      },
      {
        line: 'xdp import --from keepalived /etc/keepalived/keepalived.conf',
        does: 'print services equivalent to the virtual servers',
      },
    ],
    load: () => import('./verbs/import.ts'),
  }),
  command({
    name: 'schema',
    summary: 'print the JSON schema of the config or of an output',
    description: ['Prints a JSON Schema (draft-07) for editors and other tools; without NAME that of the config.'],
    argument: {
      name: 'NAME',
      required: false,
      help: `${SCHEMA_NAMES.slice(0, -1).join(', ')} or ${SCHEMA_NAMES.at(-1)}; default: config`,
      completes: SCHEMA_NAMES,
    },
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp schema > xdp.schema.json', does: 'save the config schema for the yaml-language-server' },
      { line: 'xdp schema plan', does: 'print the schema of `xdp plan --json`' },
    ],
    load: () => import('./verbs/schema.ts'),
  }),
  command({
    name: 'completion',
    summary: 'print the completion script of a shell',
    description: [
      'The script completes commands, flags, and values that are words, files, interfaces or instances. Source it for one session, or install it where the shell finds it.',
    ],
    argument: { name: 'SHELL', required: true, help: 'bash, zsh or fish', completes: ['bash', 'zsh', 'fish'] },
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp completion bash > /etc/bash_completion.d/xdp', does: 'install for bash with bash-completion' },
      { line: 'xdp completion zsh > /usr/local/share/zsh/site-functions/_xdp', does: 'install for zsh' },
      { line: 'xdp completion fish > /etc/fish/completions/xdp.fish', does: 'install for fish' },
    ],
    load: () => import('./verbs/completion.ts'),
  }),
]

/** The guardian of a confirmation, which `xdp apply` starts. It is no command for users: help and manual leave it out. */
export const GUARD_COMMAND: CommandSpec = command({
  name: GUARD,
  summary: 'put the previous policy back at the deadline',
  description: [],
  argument: { name: 'ID', required: true, help: 'id of the confirmation' },
  flags: NO_FLAGS,
  examples: [],
  isCacheless: true,
  usesHistory: true,
  load: () => import('./verbs/guard.ts'),
})
