// The BPF object this build ships.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ABI_VERSION } from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import type { Program } from '../model/state.ts'

const NAME = 'xdp.bpf.o'

export interface BpfObject {
  readonly path: string
  readonly program: Program
  /** The 16 bytes that `program.digest` shows as hex. */
  readonly digest: Uint8Array
}

/** Beside the bundle when installed; in `build/` when run from the sources. */
const PLACES = ['./bpf/', '../bpf/', '../../build/'].map((place) =>
  fileURLToPath(new URL(`${place}${NAME}`, import.meta.url)),
)

/** Finds and identifies the object. Throws E110 where the installation lacks it. */
export async function loadObject(): Promise<BpfObject> {
  for (const path of PLACES) {
    let bytes: Buffer
    try {
      bytes = await readFile(path)
    } catch {
      continue
    }
    const digest = createHash('sha256').update(bytes).digest().subarray(0, 16)
    return { path, program: { digest: digest.toString('hex'), abi: ABI_VERSION }, digest: new Uint8Array(digest) }
  }
  throw fail(
    'E110',
    `${NAME} is not where it was installed (${PLACES[0]})`,
    'reinstall the package, or run npm run build',
  )
}
