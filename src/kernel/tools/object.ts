// The BPF object this build ships.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ABI_VERSION } from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import type { Program, State } from '../../model/state.ts'

const NAME = 'xdp.bpf.o'
/** The programs of a generation, in objects that are loaded side by side. */
const WHOLE = [NAME, 'explain.bpf.o'] as const
/** The same programs without the balancer, which the verifier is done with in half of the time. */
const FILTER = ['filter.bpf.o', 'filter_explain.bpf.o'] as const
/** Programs that move content between maps: see carry.ts. */
const CARRY_NAME = 'carry.bpf.o'
/** Programs that list bans: see ban-list.ts. */
const BANS_NAME = 'bans.bpf.o'

export interface BpfObject {
  /** Paths of the objects with the programs of a generation: each is loaded by itself, into the same directory. */
  readonly paths: readonly string[]
  /** Those whose programs do the same for a policy without services. */
  readonly filterPaths: readonly string[]
  /** The object beside it whose programs carry counters over to larger maps. */
  readonly carryPath: string
  /** The one whose programs list many bans. */
  readonly bansPath: string
  readonly program: Program
  /** The 16 bytes that `program.digest` shows as hex. */
  readonly digest: Uint8Array
}

/** The objects with the programs for a state. */
export const objectsFor = (
  { paths, filterPaths }: BpfObject,
  { services }: Pick<State, 'services'>,
): readonly string[] => (services.size > 0 ? paths : filterPaths)

/** Beside the bundle when installed; in `build/` when run from the sources. */
const PLACES = ['./bpf/', '../bpf/', '../../../build/', '../'].map((place) =>
  fileURLToPath(new URL(place, import.meta.url)),
)

/** Finds and identifies the object. Throws E110 where the installation lacks it. */
export async function loadObject(): Promise<BpfObject> {
  for (const place of PLACES) {
    const inPlace = (names: readonly string[]): string[] => names.map((name) => `${place}${name}`)
    const [paths, filterPaths] = [inPlace(WHOLE), inPlace(FILTER)]
    let objects: Buffer[]
    try {
      objects = await Promise.all([...paths, ...filterPaths].map((one) => readFile(one)))
    } catch {
      continue
    }
    const hash = createHash('sha256')
    for (const bytes of objects) hash.update(bytes)
    const digest = hash.digest().subarray(0, 16)
    const program = { digest: digest.toString('hex'), abi: ABI_VERSION }
    return {
      paths,
      filterPaths,
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
