// One executable: Node with the bundle, V8's code of it, the BPF objects and the schemas.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { run, ScriptError } from '../lib/run.mjs'
import { compileModules, runnerFor, writeModules } from './code.mjs'
import { withNote } from './elf.mjs'
import { nodeFor } from './node.mjs'

/** Node looks for this note once this switch is on. */
const NOTE = 'NODE_SEA_BLOB'
const SWITCH = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'

/** The objects whose digest identifies the programs of a generation, as in src/kernel/tools/object.ts. */
const PROGRAMS = ['xdp.bpf.o', 'explain.bpf.o']

const DIGEST = 'bpf/digest'

/** Their digest, which no start has to compute. */
function digestOfPrograms(dist) {
  const hash = createHash('sha256')
  for (const name of PROGRAMS) hash.update(readFileSync(join(dist, 'bpf', name)))
  return hash.digest().subarray(0, 16)
}

/** The executable with the switch on. Throws ScriptError unless there is exactly one. */
function switchedOn(executable) {
  const at = executable.indexOf(`${SWITCH}:0`)
  if (at < 0 || executable.indexOf(SWITCH, at + 1) >= 0) throw new ScriptError('the Node has no switch of its kind')
  executable[at + SWITCH.length + 1] = '1'.charCodeAt(0)
  return executable
}

/** The files of dist/ that the program reads, by path. */
const shippedFiles = (dist) =>
  ['bpf', 'schemas'].flatMap((folder) => readdirSync(join(dist, folder)).map((name) => `${folder}/${name}`)).sort()

/** The blob of Node's single executable applications. Paths in it are relative, so that it is the same in every build. */
async function blobOf(directory, dist, runner) {
  const names = writeModules(directory, dist)
  await compileModules(directory, runner)
  copyFileSync(at('scripts/package/loader.cjs'), join(directory, 'loader.cjs'))
  for (const folder of ['bpf', 'schemas']) mkdirSync(join(directory, folder))
  for (const path of shippedFiles(dist)) copyFileSync(join(dist, path), join(directory, path))
  copyFileSync(join(dist, 'NOTICES.txt'), join(directory, 'NOTICES.txt'))
  writeFileSync(join(directory, DIGEST), digestOfPrograms(dist))
  const assets = [...names, ...names.map((name) => `${name}.code`), ...shippedFiles(dist), DIGEST, 'NOTICES.txt']
  const config = {
    main: 'loader.cjs',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    // NODE_OPTIONS is no setting of xdp.
    execArgv: [],
    execArgvExtension: 'none',
    assets: Object.fromEntries(assets.sort().map((path) => [path, path])),
  }
  writeFileSync(join(directory, 'sea.json'), JSON.stringify(config))
  const [file, ...words] = runner
  await run(file, [...words, '--experimental-sea-config', 'sea.json'], { cwd: directory })
  return readFileSync(join(directory, 'blob'))
}

/** Builds the executable of an architecture at a path, from the bundle in a directory. */
export async function makeExecutable(arch, target, dist = at('dist')) {
  const node = join(await nodeFor(arch), 'bin/node')
  const work = mkdtempSync(join(tmpdir(), 'xdp-executable-'))
  try {
    const bare = join(work, 'node')
    // Symbols are a seventh of the file.
    await run('llvm-strip', ['-o', bare, node])
    const directory = join(work, 'blob')
    mkdirSync(directory)
    const blob = await blobOf(directory, dist, await runnerFor(arch, node))
    writeFileSync(target, withNote(switchedOn(readFileSync(bare)), NOTE, blob))
    chmodSync(target, 0o755)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
