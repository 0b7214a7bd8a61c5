// The BPF objects that this build ships, and the copies that are loaded.

import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ABI_VERSION } from '../../abi/generated.ts'
import type { ObjectFile, ProgramParts } from '../../abi/object.ts'
import { fail } from '../../diagnostics.ts'
import type { Program } from '../../model/state.ts'
import { shipped } from '../../shipped.ts'
import { DamagedElf } from './elf.ts'
import { withExchange } from './exchange.ts'
import { separateLinear } from './linear.ts'
import { placeOf } from './place.ts'
import { prune } from './prune.ts'

const NAME = 'xdp.bpf.o'
/** The programs of a generation, in objects that are loaded concurrently. */
const NAMES = [NAME, 'explain.bpf.o'] as const
/** The digest of NAMES in the executable, which `npm run package` makes as digestOf does. */
const DIGEST_NAME = 'bpf/digest'
/** Programs that move content between maps: see carry.ts. */
const CARRY_NAME = 'carry.bpf.o'
/** Programs that list bans: see ban-list.ts. */
const BANS_NAME = 'bans.bpf.o'
/** Programs of health checks through VIPs: see check-path.ts. */
const CHECK_NAME = 'check.bpf.o'
/** Programs of each kind that a map of programs may hold: see execute/chain.ts. */
const KINDS_NAME = 'kinds.bpf.o'

const REPAIR = 'reinstall the package, or run npm run build'

export interface BpfObject {
  /** Objects with the programs of a generation, with all their parts. `program` has the digest of their contents. */
  readonly objects: readonly ObjectFile[]
  /** The object whose programs carry counters over to larger maps. */
  readonly carryPath: string
  /** The object whose programs list bans. */
  readonly bansPath: string
  /** The object with the programs of health checks through VIPs. */
  readonly checkPath: string
  /** The object whose programs show the kind of a program. */
  readonly kindsPath: string
  readonly program: Program
  /** The 16 bytes that `program.digest` shows as hex. */
  readonly digest: Uint8Array
}

/** Beside the bundle when installed; in `build/` when run from the sources, above the bundle of a benchmark. */
const PLACES = ['./bpf/', '../bpf/', '../../../build/', '../'].map((place) =>
  fileURLToPath(new URL(place, import.meta.url)),
)

function digestOf(contents: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const bytes of contents) hash.update(bytes)
  return hash.digest().subarray(0, 16)
}

function objectIn(directory: string, objects: readonly ObjectFile[], digest: Buffer): BpfObject {
  return {
    objects,
    carryPath: `${directory}${CARRY_NAME}`,
    bansPath: `${directory}${BANS_NAME}`,
    checkPath: `${directory}${CHECK_NAME}`,
    kindsPath: `${directory}${KINDS_NAME}`,
    program: { digest: digest.toString('hex'), abi: ABI_VERSION },
    digest: new Uint8Array(digest),
  }
}

/** An object in the executable, which is copied out of it when it is used: most commands need its digest alone. */
const shippedObject = (directory: string, name: string): ObjectFile => ({
  path: `${directory}${name}`,
  get content() {
    const content = shipped(`bpf/${name}`)
    if (content === undefined) throw fail('E110', `${name} is missing in the executable`, REPAIR)
    return content
  },
})

/** The object of the executable; its other objects have no files until `place` makes them. */
function ofExecutable(): BpfObject | undefined {
  const content = shipped(DIGEST_NAME)
  if (content === undefined) return undefined
  const digest = Buffer.from(content)
  const directory = placeOf(digest.toString('hex'))
  const objects = NAMES.map((name) => shippedObject(directory, name))
  return objectIn(directory, objects, digest)
}

/** Finds and identifies the object. Throws E110 if it is missing. */
export async function loadObject(): Promise<BpfObject> {
  const own = ofExecutable()
  if (own !== undefined) return own
  for (const directory of PLACES) {
    try {
      const contents = await Promise.all(NAMES.map((name) => readFile(`${directory}${name}`)))
      const objects = NAMES.map((name, i) => ({ path: `${directory}${name}`, content: contents[i] as Uint8Array }))
      return objectIn(directory, objects, digestOf(contents))
    } catch {}
  }
  throw fail('E110', `${NAME} is not where it was installed (${PLACES[0]}${NAME})`, REPAIR)
}

/** Returns the result of `body`. Throws XdpError E110 instead of DamagedElf. */
function undamaged<T>(path: string, body: () => T): T {
  try {
    return body()
  } catch (error) {
    if (error instanceof DamagedElf) throw fail('E110', `${path} ${error.message}`, REPAIR, error)
    throw error
  }
}

/** The content of an object with these parts and no others. Throws XdpError E110 if the object is damaged. */
export const withParts = ({ path, content }: ObjectFile, parts: ProgramParts): Uint8Array =>
  undamaged(path, () => prune(content, parts))

/** Like withParts, in two objects: the program is apart, and for packets in one buffer. */
export const withLinear = (object: ObjectFile, parts: ProgramParts, program: string): readonly Uint8Array[] =>
  undamaged(object.path, () => separateLinear(withParts(object, parts), program))

/**
 * Runs `body` with the paths of the objects of a generation with these parts, in a directory that is removed
 * afterwards. Throws as withParts and withExchange.
 */
export const withObjects = <T>(
  { objects }: Pick<BpfObject, 'objects'>,
  parts: ProgramParts,
  body: (paths: readonly string[]) => Promise<T> | T,
): Promise<T> =>
  withExchange(async (directory) => {
    const paths = objects.map(({ path }) => `${directory}/${basename(path)}`)
    await Promise.all(objects.map((object, i) => writeFile(paths[i] as string, withParts(object, parts))))
    return body(paths)
  })
