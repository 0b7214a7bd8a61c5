// Reads the names of this host that complete a word, without starting a process. There are none where reading fails.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEVICES, deviceNames } from '../../../abi/device-names.ts'
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
  interfaces: () => orNone(() => deviceNames(readFileSync(DEVICES, 'utf8'))),
  instances: (bpffs) =>
    orNone(() =>
      readdirSync(join(bpffs, OWN_DIRECTORY), { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [entry.name] : [],
      ),
    ),
}
