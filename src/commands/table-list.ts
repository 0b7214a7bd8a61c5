// The command that prints the live policy, a part of the table of commands.

import { LIST_FLAGS } from './cli/flags.ts'
import { type CommandSpec, command } from './cli/specification.ts'

export const LIST_COMMANDS: readonly CommandSpec[] = [
  command({
    name: 'list',
    summary: 'print the live policy as a config',
    description: [
      'Reads the tables in the kernel and prints a config of what they hold: interfaces, settings, every entry of every list, rate limits and services. A plan of it has no changes. The head of the config names what the kernel does not have: comments, names of list files, health checks, settings of plans.',
      'With --output DIR long lists become list files beside the config.',
    ],
    flags: LIST_FLAGS,
    examples: [
      { line: 'xdp list', does: 'show everything that is in force' },
      { line: 'xdp list --output recovered', does: 'write a config where the file is lost' },
      { line: 'xdp list > live.yaml && xdp plan -f live.yaml', does: 'check that the two are the same' },
    ],
    load: () => import('./verbs/list.ts'),
  }),
]
