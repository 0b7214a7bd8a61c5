// The BPF object this build ships.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ABI_VERSION } from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import type { Program, State } from '../model/state.ts'

const NAME = 'xdp.bpf.o'
/** The same programs without the balancer, which the verifier is done with in a third of the time. */
const FILTER_NAME = 'filter.bpf.o'
/** Programs that move content between maps: see carry.ts. */
const CARRY_NAME = 'carry.bpf.o'
/** Programs that list bans: see ban-list.ts. */
const BANS_NAME = 'bans.bpf.o'

export interface BpfObject {
  readonly path: string
  /** The object whose programs do the same for a policy without services. */
  readonly filterPath: string
  /** The object beside it whose programs carry counters over to larger maps. */
  readonly carryPath: string
  /** The one whose programs list many bans. */
  readonly bansPath: string
  readonly program: Program
  /** The 16 bytes that `program.digest` shows as hex. */
  readonly digest: Uint8Array
}

/** The object with the programs for a state. */
export const objectFor = ({ path, filterPath }: BpfObject, { services }: Pick<State, 'services'>): string =>
  services.size > 0 ? path : filterPath

/** Beside the bundle when installed; in `build/` when run from the sources. */
const PLACES = ['./bpf/', '../bpf/', '../../build/'].map((place) => fileURLToPath(new URL(place, import.meta.url)))

/** Finds and identifies the object. Throws E110 where the installation lacks it. */
export async function loadObject(): Promise<BpfObject> {
  for (const place of PLACES) {
    const path = `${place}${NAME}`
    const filterPath = `${place}${FILTER_NAME}`
    let objects: Buffer[]
    try {
      objects = await Promise.all([path, filterPath].map((one) => readFile(one)))
    } catch {
      continue
    }
    const hash = createHash('sha256')
    for (const bytes of objects) hash.update(bytes)
    const digest = hash.digest().subarray(0, 16)
    const program = { digest: digest.toString('hex'), abi: ABI_VERSION }
    return {
      path,
      filterPath,
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
