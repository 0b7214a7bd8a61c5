// The modules of dist/ as the executable's loader runs them, each a function.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { attempt, run, ScriptError, which } from '../lib/run.mjs'
import { ARCHITECTURES } from './node.mjs'

/** The file that Node starts in the npm package, and the executable does not have. */
const LAUNCHER = 'xdp.js'

/** Writes the modules of a bundle into a directory. Returns their names. */
export function writeModules(directory, dist) {
  const names = readdirSync(dist).filter((name) => name.endsWith('.js') && name !== LAUNCHER)
  for (const name of names) {
    const text = readFileSync(join(dist, name), 'utf8')
    writeFileSync(join(directory, name), `(function(exports,require,module,__filename){${text}\n})`)
  }
  return names.sort()
}

/** The command that runs a program of an architecture here. Throws ScriptError if that takes qemu and there is none. */
export async function runnerFor(arch, node) {
  if ((await attempt(node, ['--version'])).status === 0) return [node]
  const { qemu, libraries, emulation } = ARCHITECTURES[arch]
  if (which(qemu) && existsSync(libraries)) return [qemu, '-L', libraries, node]
  throw new ScriptError(`building for ${arch} runs its Node in qemu: apt-get install ${emulation.join(' ')}`)
}

/** Writes V8's code of the modules in a directory, `NAME.code` for each. The seed makes it the same in every build. */
export async function compileModules(directory, [file, ...words]) {
  const script = at('scripts/package/compile.cjs')
  await run(file, [...words, '--random-seed=1', script, directory])
}
