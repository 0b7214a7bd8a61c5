// Reads the names of this host that complete a word, without starting a process. There are none where reading fails.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OWN_DIRECTORY } from '../../../abi/directory.ts'
import type { Names } from './complete.ts'

function orNone(read: () => readonly string[]): readonly string[] {
  try {
    return read()
  } catch {
    return []
  }
}

export const HOST_NAMES: Names = {
  // Not /sys/class/net, which shows the network namespace that sysfs was mounted in.
  interfaces: () =>
    orNone(() => {
      const lines = readFileSync('/proc/self/net/dev', 'utf8').split('\n')
      return lines.flatMap((line) => /^ *([^ |:]+):/.exec(line)?.[1] ?? [])
    }),
  instances: (bpffs) =>
    orNone(() =>
      readdirSync(join(bpffs, OWN_DIRECTORY), { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [entry.name] : [],
      ),
    ),
}
