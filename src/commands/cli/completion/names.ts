// Reads the names of this host that complete a word, without starting a process. There are none where reading fails.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEVICES, deviceNames } from '../../../abi/device-names.ts'
import { OWN_DIRECTORY } from '../../../abi/directory.ts'
import type { Names } from './complete.ts'

/** Without characters on which a shell or a terminal acts: bash puts a candidate on the command line as it is. */
const PLAIN = /^[\p{L}\p{N}._@%+=:,-]+$/u

function orNone(read: () => readonly string[]): readonly string[] {
  try {
    return read().filter((name) => PLAIN.test(name))
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
