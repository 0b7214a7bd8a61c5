// npm run package [-- [--quick] ARCHITECTURE...]: the executable and the Debian package of each architecture, in
// build/package. With --quick the package is larger and done sooner.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import manifest from '../package.json' with { type: 'json' }
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { makeDeb } from './package/deb.mjs'
import { makeExecutable } from './package/executable.mjs'
import { ARCHITECTURES } from './package/node.mjs'

const DIRECTORY = at('build/package')

await main(async () => {
  const { positionals: wanted, values } = parseArgs({
    options: { quick: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const unknown = wanted.find((arch) => !Object.hasOwn(ARCHITECTURES, arch))
  if (unknown !== undefined) {
    throw new ScriptError(`"${unknown}" is no architecture: ${Object.keys(ARCHITECTURES).join(', ')}`)
  }
  await run(process.execPath, [at('scripts/build.mjs')], { inherit: true })
  mkdirSync(DIRECTORY, { recursive: true })
  for (const arch of wanted.length > 0 ? wanted : Object.keys(ARCHITECTURES)) {
    const executable = join(DIRECTORY, `xdp-${manifest.version}-linux-${arch}`)
    await makeExecutable(arch, executable)
    console.log(`package: ${executable}`)
    console.log(`package: ${await makeDeb(arch, executable, DIRECTORY, values.quick)}`)
  }
})
