// The command about sources in the network, a part of the table of commands.

import { FETCH_FLAGS } from './cli/flags.ts'
import { type CommandSpec, command } from './cli/specification.ts'

export const FETCH_COMMANDS: readonly CommandSpec[] = [
  command({
    name: 'fetch',
    summary: 'download `url:` lists and look up `host:` names',
    description: [
      'Downloads the lists that the config names with `url`, and looks up the names of `host`, into `/var/lib/xdp/feeds`. Changes nothing in the kernel: `xdp plan` and `xdp apply` read the copies there and need no network. `xdp watch` fetches by itself.',
      'A content that an entry cannot read, or that has lost more than max_shrink of its prefixes, never replaces the last good copy. Exits 1 if a source could not be fetched, 4 if one shrank too much.',
    ],
    argument: { name: 'NAME', required: false, help: 'a list, a URL or a host of the config; default: all' },
    flags: FETCH_FLAGS,
    examples: [
      { line: 'xdp fetch', does: 'fetch every source' },
      { line: 'xdp fetch spamhaus', does: 'fetch the sources of one list' },
      { line: 'xdp fetch --json | jq .sources', does: 'fetch, with JSON output for a script' },
    ],
    load: () => import('./verbs/fetch.ts'),
  }),
]
