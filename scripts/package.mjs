// npm run package [-- FLAGS ARCHITECTURE...]: the executable, the Debian package and the RPM of each architecture, in
// build/package.
// --image also makes an image for containers, of this host's architecture. Flags for tests: --quick compresses nothing;
// --dist DIR has another bundle, --version V another version, --out DIR another target.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import manifest from '../package.json' with { type: 'json' }
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { makeDeb } from './package/deb.mjs'
import { makeExecutable } from './package/executable.mjs'
import { ARCHITECTURES } from './package/node.mjs'
import { makeImage } from './package/oci.mjs'
import { makeRpm } from './package/rpm.mjs'

const string = { type: 'string' }
const flag = { type: 'boolean', default: false }

await main(async () => {
  const { positionals: wanted, values } = parseArgs({
    options: { quick: flag, image: flag, dist: string, version: string, out: string },
    allowPositionals: true,
  })
  const unknown = wanted.find((arch) => !Object.hasOwn(ARCHITECTURES, arch))
  if (unknown !== undefined) {
    throw new ScriptError(`"${unknown}" is no architecture: ${Object.keys(ARCHITECTURES).join(', ')}`)
  }
  const { quick, image, dist, version = manifest.version, out = at('build/package') } = values
  if (dist === undefined) await run(process.execPath, [at('scripts/build.mjs')], { inherit: true })
  mkdirSync(out, { recursive: true })
  for (const arch of wanted.length > 0 ? wanted : Object.keys(ARCHITECTURES)) {
    const executable = join(out, `xdp-${version}-linux-${arch}`)
    await makeExecutable(arch, executable, dist)
    console.log(`package: ${executable}`)
    // Each compresses the same executable with one thread for most of the time.
    const packages = await Promise.all(
      [makeDeb, makeRpm].map((make) => make(arch, executable, out, { quick, version })),
    )
    for (const path of packages) console.log(`package: ${path}`)
    if (image && arch === process.arch) {
      console.log(`package: ${await makeImage(arch, executable, out, { quick, version })}`)
    }
  }
})
