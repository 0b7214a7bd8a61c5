// The commands about earlier applies, a part of the table of commands.

import { DIFF_FLAGS, NO_FLAGS, ROLLBACK_FLAGS } from './cli/flags.ts'
import { type CommandSpec, command } from './cli/specification.ts'

export const HISTORY_COMMANDS: readonly CommandSpec[] = [
  command({
    name: 'history',
    summary: 'list the applies that changed the policy',
    description: [
      'Lists the last applies with their number, time, result, user or unit, and config; * marks the policy in force. An apply of the config that is in force already makes no entry.',
      '`xdp history show N` also shows the changes, the config, and the files that it includes.',
    ],
    argument: { name: 'show', required: false, help: 'show one apply in full', completes: ['show'] },
    second: { name: 'N', required: false, help: 'number of the apply' },
    flags: NO_FLAGS,
    examples: [
      { line: 'xdp history', does: 'list the last applies' },
      { line: 'xdp history show 3', does: 'show one of them, with its config' },
    ],
    isCacheless: true,
    usesHistory: true,
    load: () => import('./verbs/history.ts'),
  }),
  command({
    name: 'diff',
    summary: 'show how two policies differ',
    description: [
      'Compares two policies and shows, like a plan, the changes that turn the first into the second. Each is the number of an apply in the history, `live`, or a config file. Nothing is changed.',
    ],
    argument: {
      name: 'FROM',
      required: true,
      help: 'number of an apply, live, or a config file',
      completes: 'file',
    },
    second: { name: 'TO', required: true, help: 'number of an apply, live, or a config file', completes: 'file' },
    flags: DIFF_FLAGS,
    examples: [
      { line: 'xdp diff 3 5', does: 'show what two applies and those between them changed' },
      { line: 'xdp diff live 3', does: 'show what a rollback to an apply would change' },
      { line: 'xdp diff 3 xdp.yaml', does: 'compare an apply with a file' },
    ],
    usesHistory: true,
    load: () => import('./verbs/diff.ts'),
  }),
  command({
    name: 'rollback',
    summary: 'go back to the policy of an earlier apply',
    description: [
      'Takes the config of that apply from the history, with the files it included and its lists, shows the plan, and asks for approval. Without N takes the policy before the one in force. --allow-cut, --confirm and all guards are as with `xdp apply`.',
      'The config file stays as it is: `xdp plan` says that file and kernel differ because of the rollback, `xdp watch` and the unit at boot keep the policy of the rollback until the file changes, and `xdp apply` puts the policy of the file in force again.',
    ],
    argument: { name: 'N', required: false, help: 'number of the apply, as `xdp history` lists it' },
    flags: ROLLBACK_FLAGS,
    examples: [
      { line: 'xdp rollback', does: 'go back to the policy before' },
      { line: 'xdp rollback 3 --confirm 2m', does: 'go back to a certain one, and return if you do not confirm' },
    ],
    usesHistory: true,
    load: () => import('./verbs/rollback.ts'),
  }),
]
