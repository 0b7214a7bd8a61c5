// The BPF objects this build ships, and what is loaded of them.

import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ABI_VERSION } from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import type { Program } from '../../model/state.ts'
import { DamagedElf } from './elf.ts'
import { withExchange } from './exchange.ts'
import { ALL_PARTS, type Part } from './parts.ts'
import { prune } from './prune.ts'

const NAME = 'xdp.bpf.o'
/** The programs of a generation, in objects that are loaded side by side. */
const NAMES = [NAME, 'explain.bpf.o'] as const
/** Programs that move content between maps: see carry.ts. */
const CARRY_NAME = 'carry.bpf.o'
/** Programs that list bans: see ban-list.ts. */
const BANS_NAME = 'bans.bpf.o'

const REPAIR = 'reinstall the package, or run npm run build'

export interface BpfObject {
  /** Paths of the objects with the programs of a generation, with all their parts. */
  readonly paths: readonly string[]
  /** Their bytes, which `program` is the digest of. */
  readonly contents: readonly Uint8Array[]
  /** The object beside it whose programs carry counters over to larger maps. */
  readonly carryPath: string
  /** The one whose programs list many bans. */
  readonly bansPath: string
  readonly program: Program
  /** The 16 bytes that `program.digest` shows as hex. */
  readonly digest: Uint8Array
}

/** Beside the bundle when installed; in `build/` when run from the sources, above the bundle of a benchmark. */
const PLACES = ['./bpf/', '../bpf/', '../../../build/', '../'].map((place) =>
  fileURLToPath(new URL(place, import.meta.url)),
)

/** Finds and identifies the object. Throws E110 where the installation lacks it. */
export async function loadObject(): Promise<BpfObject> {
  for (const place of PLACES) {
    const paths = NAMES.map((name) => `${place}${name}`)
    let contents: Buffer[]
    try {
      contents = await Promise.all(paths.map((path) => readFile(path)))
    } catch {
      continue
    }
    const hash = createHash('sha256')
    for (const bytes of contents) hash.update(bytes)
    const digest = hash.digest().subarray(0, 16)
    const program = { digest: digest.toString('hex'), abi: ABI_VERSION }
    return {
      paths,
      contents,
      carryPath: `${place}${CARRY_NAME}`,
      bansPath: `${place}${BANS_NAME}`,
      program,
      digest: new Uint8Array(digest),
    }
  }
  throw fail('E110', `${NAME} is not where it was installed (${PLACES[0]}${NAME})`, REPAIR)
}

/**
 * Writes the objects with these parts, and no others, into a directory. Returns their paths: each is loaded by itself,
 * into one directory of pins. Throws E110 where an object is damaged.
 */
export async function prepareObjects(
  directory: string,
  { paths, contents }: Pick<BpfObject, 'paths' | 'contents'>,
  parts: readonly Part[],
): Promise<readonly string[]> {
  // The work below waits for nothing: a tool that was started just before is asked for first.
  await setImmediate()
  const wanted = new Map(ALL_PARTS.map((part) => [part, parts.includes(part)]))
  return Promise.all(
    paths.map(async (path, i) => {
      const target = `${directory}/${basename(path)}`
      await writeFile(target, pruned(path, contents[i] as Uint8Array, wanted))
      return target
    }),
  )
}

/** Runs `body` with the paths of prepared objects, which are gone afterwards. Throws as prepareObjects and withExchange. */
export const withObjects = <T>(
  object: BpfObject,
  parts: readonly Part[],
  body: (paths: readonly string[]) => Promise<T>,
): Promise<T> => withExchange(async (directory) => body(await prepareObjects(directory, object, parts)))

function pruned(path: string, content: Uint8Array, wanted: ReadonlyMap<string, boolean>): Uint8Array {
  try {
    return prune(content, wanted)
  } catch (error) {
    if (error instanceof DamagedElf) throw fail('E110', `${path} ${error.message}`, REPAIR, error)
    throw error
  }
}
