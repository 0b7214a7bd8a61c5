// The command line: every command, in the order in which help shows them. Commands are glue and decide nothing.

import {
  APPLY_FLAGS,
  APPROVE_FLAGS,
  BAN_FLAGS,
  IMPORT_FLAGS,
  NO_FLAGS,
  PLAN_FLAGS,
  STATS_FLAGS,
  UNBAN_FLAGS,
  WATCH_FLAGS,
  WHY_FLAGS,
} from './cli/flags.ts'
import { SCHEMA_NAMES } from './cli/schema-names.ts'
import { type CommandSpec, command } from './cli/specification.ts'

export const COMMANDS: readonly CommandSpec[] = [
  command({
    name: 'validate',
    summary: 'check the config; needs neither root nor a kernel',
    description: ['Checks the file and every file it names, and reports all mistakes together. Exit 78 on a mistake.'],
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp validate', does: 'check ./xdp.yaml' },
      { line: 'xdp validate -f site.yaml --json', does: 'the same for an editor or a pipeline' },
    ],
    load: () => import('./verbs/validate.ts'),
  }),
  command({
    name: 'plan',
    summary: 'show what apply would do, and change nothing',
    description: [
      'Compares the config with the live kernel. + creates, ~ updates, - deletes, -/+ replaces (filtering is interrupted), ! marks what changed since the last apply without it.',
      'Each change states what traffic notices of it: hitless, link-bounce (the driver may reset its rings) or traffic-gap (packets pass unfiltered for a moment).',
    ],
    flags: PLAN_FLAGS,
    examples: [
      { line: 'xdp plan', does: 'what would change' },
      { line: 'xdp plan --detailed-exitcode', does: 'exit 2 when there are changes, for scripts' },
      { line: 'xdp plan --target blocklist:spamhaus --full', does: 'every prefix that one list gains and loses' },
      { line: 'xdp plan --commands', does: 'the bpftool and ip commands behind it' },
    ],
    load: () => import('./verbs/plan.ts'),
  }),
  command({
    name: 'apply',
    summary: 'make the kernel what the config says, and prove it',
    description: [
      'Shows the plan, asks, loads and fills the new tables aside, tests them with packets, switches, reads back and tests again. Packets meet the old policy or the new one, never something between. What fails before the switch changes nothing; what fails after it is rolled back.',
      'Applying what is already live writes nothing and exits 0 without asking.',
    ],
    flags: APPLY_FLAGS,
    examples: [
      { line: 'xdp apply', does: 'show the plan, ask, apply' },
      { line: 'xdp apply -f site.yaml --auto-approve', does: 'apply from a script' },
      { line: 'xdp apply --auto-approve --wait-interfaces 30s', does: 'apply at boot' },
    ],
    load: () => import('./verbs/apply.ts'),
  }),
  command({
    name: 'watch',
    summary: 'keep the kernel what the config says, edit by edit',
    description: [
      'Runs until it is stopped. Applies every edit of the config and of the files it names, and puts right what something else changes. A config that cannot be used is told, and what was in force stays in force until it is fixed.',
      'Stopping leaves the programs attached (watch.on_stop). SIGHUP reads the config again. Every other command works beside it. On a terminal it tells what it does in plain lines, elsewhere in JSON, one event a line.',
    ],
    flags: WATCH_FLAGS,
    examples: [
      { line: 'xdp watch', does: 'follow ./xdp.yaml or /etc/xdp/xdp.yaml' },
      { line: 'xdp watch -f site.yaml --json | jq -r .message', does: 'the same, told to a program' },
    ],
    load: () => import('./verbs/watch.ts'),
  }),
  command({
    name: 'status',
    summary: 'show what is live: interfaces, lists, counters',
    description: ['Reads the kernel only; the config is not looked at.'],
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp status', does: 'what filters, and what it did' },
      { line: "xdp status --json | jq '.lists[].packets'", does: 'counters for a script' },
    ],
    load: () => import('./verbs/status.ts'),
  }),
  command({
    name: 'stats',
    summary: 'show counters, rates and how full things are',
    description: [
      'Packets and bytes by verdict, reason, interface and list; how full bans, lists and other tables are; kernel memory. No table is read, so it costs little however long the lists are. --watch shows rates.',
      'With -f FILE also what the config tells: its digest, its age, and the age of its feeds.',
    ],
    flags: STATS_FLAGS,
    examples: [
      { line: 'xdp stats', does: 'what was counted so far' },
      { line: 'xdp stats --watch', does: 'what is going on now; q quits' },
      {
        line: 'xdp stats --format prometheus --output /var/lib/node-exporter/xdp.prom',
        does: "for node_exporter's textfile collector",
      },
    ],
    load: () => import('./verbs/stats.ts'),
  }),
  command({
    name: 'why',
    summary: 'explain what happens to packets from an address',
    description: [
      'Tells the verdict a packet gets in the kernel and by the config, and which list, prefix and line decide it. The live answer is proven by a packet sent through the loaded program. Exit 0 whatever the verdict.',
    ],
    argument: { name: 'ADDRESS', required: true, help: 'the IPv4 or IPv6 address that the packet comes from' },
    flags: WHY_FLAGS,
    examples: [
      { line: 'xdp why 203.0.113.9', does: 'is this address blocked, and by what' },
      { line: 'xdp why 203.0.113.9 --protocol udp --source-port 53', does: 'the same for a DNS answer from it' },
    ],
    load: () => import('./verbs/why.ts'),
  }),
  command({
    name: 'ban',
    summary: 'drop everything from an address, at once and for a time',
    description: [
      'Bans are apart from the file: no plan shows them, no apply removes them, and they survive edits and updates. They take effect with the next packet and end by themselves. The allowlist beats a ban. To ban again sets time, reason and author anew.',
      'Refused with exit 4, unless forced: what covers an address of this host, its default gateway, or the peer of an SSH connection.',
    ],
    argument: { name: 'ADDRESS', required: false, help: 'an IPv4 or IPv6 address or CIDR; not with --stdin' },
    flags: BAN_FLAGS,
    examples: [
      { line: 'xdp ban 203.0.113.9 --ttl 1h --reason ssh-guesses', does: 'drop an address for an hour' },
      { line: 'xdp ban 2001:db8:7::/48', does: 'drop a network until `xdp unban`' },
      { line: 'xdp ban --stdin --ttl 1d < bad.txt', does: 'ban what a file or a stream names, as it comes' },
    ],
    load: () => import('./verbs/ban.ts'),
  }),
  command({
    name: 'unban',
    summary: 'lift a ban',
    description: ['Lifts the ban of just this address or CIDR. What is not banned is no error.'],
    argument: { name: 'ADDRESS', required: false, help: 'the address or CIDR, as it was banned; not with --stdin' },
    flags: UNBAN_FLAGS,
    examples: [
      { line: 'xdp unban 203.0.113.9', does: 'let an address in again' },
      { line: 'xdp unban --stdin < pardoned.txt', does: 'let in what a file or a stream names' },
    ],
    load: () => import('./verbs/unban.ts'),
  }),
  command({
    name: 'bans',
    summary: 'list the bans in force',
    description: ['By address, with the time that is left, who banned and why.'],
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp bans', does: 'who is banned, and for how long' },
      { line: "xdp bans --json | jq -r '.bans[].prefix'", does: 'the prefixes for a script' },
    ],
    load: () => import('./verbs/bans.ts'),
  }),
  command({
    name: 'destroy',
    summary: 'detach and remove everything of this instance',
    description: ['Shows what would go, asks, and removes it. Programs and maps of others are not touched.'],
    flags: APPROVE_FLAGS,
    examples: [{ line: 'xdp destroy --auto-approve', does: 'remove everything without asking' }],
    load: () => import('./verbs/destroy.ts'),
  }),
  command({
    name: 'doctor',
    summary: 'check whether this host can run the config',
    description: [
      'Checks kernel, tools, permissions, bpffs and every interface, with a command that puts right what is wrong. Exit 1 when a check fails, 0 when there are only warnings.',
    ],
    flags: NO_FLAGS,
    examples: [{ line: 'xdp doctor', does: 'check everything' }],
    load: () => import('./verbs/doctor.ts'),
  }),
  command({
    name: 'import',
    summary: 'make a config from ipset, nftables, iptables or xdp-filter',
    description: [
      'Reads what another filter is set to (now, or from a file with what its tool printed) and writes the config that drops and accepts the same source addresses. What a config cannot say exactly is left out and told, one line each. Nothing is changed in the kernel.',
      'Reads: `ipset save`, `nft -j list ruleset`, `iptables-save` with `ip6tables-save` and `ipset save`, `xdp-filter status`.',
    ],
    argument: {
      name: 'FILE',
      required: false,
      help: 'what the tool printed, - for stdin; default: ask the tool',
      completes: 'file',
    },
    flags: IMPORT_FLAGS,
    examples: [
      { line: 'xdp import --from nft --interface eth0', does: 'print the config that does what nftables does' },
      {
        line: 'xdp import --from ipset sets.txt --output site',
        does: 'the sets of a saved `ipset save`, long ones as list files',
      },
      { line: 'xdp import --from iptables --strict --output /etc/xdp', does: 'only if nothing is lost' },
    ],
    load: () => import('./verbs/import.ts'),
  }),
  command({
    name: 'schema',
    summary: 'print the JSON schema of the config or of an output',
    description: ['Without NAME the schema of the config (JSON Schema draft-07), for editors and other tools.'],
    argument: {
      name: 'NAME',
      required: false,
      help: `${SCHEMA_NAMES.slice(0, -1).join(', ')} or ${SCHEMA_NAMES.at(-1)}; default: config`,
      completes: SCHEMA_NAMES,
    },
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp schema > xdp.schema.json', does: 'for the yaml-language-server' },
      { line: 'xdp schema plan', does: 'what `xdp plan --json` prints' },
    ],
    load: () => import('./verbs/schema.ts'),
  }),
  command({
    name: 'completion',
    summary: 'print the completion script of a shell',
    description: [
      'Completes commands, flags, and values where they are words, files, interfaces or instances. Load the script for one session, or put it where the shell looks for it.',
    ],
    argument: { name: 'SHELL', required: true, help: 'bash, zsh or fish', completes: ['bash', 'zsh', 'fish'] },
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp completion bash > /etc/bash_completion.d/xdp', does: 'for every bash with bash-completion' },
      { line: 'xdp completion zsh > /usr/local/share/zsh/site-functions/_xdp', does: 'for every zsh' },
      { line: 'xdp completion fish > /etc/fish/completions/xdp.fish', does: 'for every fish' },
    ],
    load: () => import('./verbs/completion.ts'),
  }),
]
