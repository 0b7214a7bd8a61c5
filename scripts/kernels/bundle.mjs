// Test code in TypeScript for scripts that run on plain Node.
import { pathToFileURL } from 'node:url'
import { at, root } from '../lib/paths.mjs'

/** Bundles test/kernels/NAME.ts into build/kernels/NAME.mjs, and imports it. */
export async function bundled(name) {
  const { build } = await import('esbuild')
  const outfile = at(`build/kernels/${name}.mjs`)
  await build({
    absWorkingDir: root,
    entryPoints: [`test/kernels/${name}.ts`],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
  })
  return import(pathToFileURL(outfile).href)
}
