// npm run package [-- FLAGS ARCHITECTURE...]: the executable and the Debian package of each architecture, in build/package.
// Flags for tests: --quick compresses nothing; --dist DIR has another bundle, --version V another version, --out DIR
// another target.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import manifest from '../package.json' with { type: 'json' }
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { makeDeb } from './package/deb.mjs'
import { makeExecutable } from './package/executable.mjs'
import { ARCHITECTURES } from './package/node.mjs'

const string = { type: 'string' }

await main(async () => {
  const { positionals: wanted, values } = parseArgs({
    options: { quick: { type: 'boolean', default: false }, dist: string, version: string, out: string },
    allowPositionals: true,
  })
  const unknown = wanted.find((arch) => !Object.hasOwn(ARCHITECTURES, arch))
  if (unknown !== undefined) {
    throw new ScriptError(`"${unknown}" is no architecture: ${Object.keys(ARCHITECTURES).join(', ')}`)
  }
  const { quick, dist, version = manifest.version, out = at('build/package') } = values
  if (dist === undefined) await run(process.execPath, [at('scripts/build.mjs')], { inherit: true })
  mkdirSync(out, { recursive: true })
  for (const arch of wanted.length > 0 ? wanted : Object.keys(ARCHITECTURES)) {
    const executable = join(out, `xdp-${version}-linux-${arch}`)
    await makeExecutable(arch, executable, dist)
    console.log(`package: ${executable}`)
    console.log(`package: ${await makeDeb(arch, executable, out, { quick, version })}`)
  }
})
