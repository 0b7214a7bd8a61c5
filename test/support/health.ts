// Writes health to a loaded data plane, as the kernel room does it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type Paths, pinPaths } from '../../src/abi/paths.ts'
import { runBatch } from '../../src/kernel/tools/bpftool.ts'
import { runLine } from '../../src/kernel/tools/transfer.ts'
import type { DataPlane } from './bpf.ts'

/** Paths to the plane's maps, and to the programs of its last load. */
export const healthPaths = (plane: DataPlane): Paths => ({
  ...pinPaths('', ''),
  sharedMap: ({ name }) => plane.map(name),
  programs: () => plane.program('health_write').replace(/\/[^/]*$/, ''),
  program: (_, program) => plane.program(program),
})

/** The result of a pinned health_write for some data. */
export async function runHealth(program: string, data: Uint8Array): Promise<string> {
  const directory = mkdtempSync('/dev/shm/xdp-test-')
  try {
    writeFileSync(`${directory}/data`, data)
    const [output] = (await runBatch([runLine(program, `${directory}/data`, '/dev/null')])) as { retval: number }[]
    return ['aborted', 'drop', 'pass'][output?.retval ?? -1] ?? 'unknown'
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
