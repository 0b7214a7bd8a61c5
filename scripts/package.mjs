// npm run package [-- ARCHITECTURE...]: the executable of each architecture, in build/package.
import { mkdirSync } from 'node:fs'
import manifest from '../package.json' with { type: 'json' }
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { makeExecutable } from './package/executable.mjs'
import { ARCHITECTURES } from './package/node.mjs'

await main(async () => {
  const wanted = process.argv.slice(2)
  const unknown = wanted.find((arch) => !Object.hasOwn(ARCHITECTURES, arch))
  if (unknown !== undefined) {
    throw new ScriptError(`"${unknown}" is no architecture: ${Object.keys(ARCHITECTURES).join(', ')}`)
  }
  await run(process.execPath, [at('scripts/build.mjs')], { inherit: true })
  mkdirSync(at('build/package'), { recursive: true })
  for (const arch of wanted.length > 0 ? wanted : Object.keys(ARCHITECTURES)) {
    const target = at('build/package', `xdp-${manifest.version}-linux-${arch}`)
    await makeExecutable(arch, target)
    console.log(`package: ${target}`)
  }
})
