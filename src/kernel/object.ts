// The BPF object this build ships.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ABI_VERSION } from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import type { Program } from '../model/state.ts'

const NAME = 'xdp.bpf.o'
/** Programs that move content between maps: see carry.ts. */
const CARRY_NAME = 'carry.bpf.o'
/** Programs that list bans: see ban-list.ts. */
const BANS_NAME = 'bans.bpf.o'

export interface BpfObject {
  readonly path: string
  /** The object beside it whose programs carry counters over to larger maps. */
  readonly carryPath: string
  /** The one whose programs list many bans. */
  readonly bansPath: string
  readonly program: Program
  /** The 16 bytes that `program.digest` shows as hex. */
  readonly digest: Uint8Array
}

/** Beside the bundle when installed; in `build/` when run from the sources. */
const PLACES = ['./bpf/', '../bpf/', '../../build/'].map((place) => fileURLToPath(new URL(place, import.meta.url)))

/** Finds and identifies the object. Throws E110 where the installation lacks it. */
export async function loadObject(): Promise<BpfObject> {
  for (const place of PLACES) {
    const path = `${place}${NAME}`
    let bytes: Buffer
    try {
      bytes = await readFile(path)
    } catch {
      continue
    }
    const digest = createHash('sha256').update(bytes).digest().subarray(0, 16)
    const program = { digest: digest.toString('hex'), abi: ABI_VERSION }
    return {
      path,
      carryPath: `${place}${CARRY_NAME}`,
      bansPath: `${place}${BANS_NAME}`,
      program,
      digest: new Uint8Array(digest),
    }
  }
  throw fail(
    'E110',
    `${NAME} is not where it was installed (${PLACES[0]}${NAME})`,
    'reinstall the package, or run npm run build',
  )
}
