// Imports TypeScript into a script: bundled first, because the oldest Node that we support runs only JavaScript.
import { build } from 'esbuild'
import { root } from './paths.mjs'

/** Modules behind `await import()` are implementations of commands, which no script runs. */
const lazy = {
  name: 'lazy',
  setup: ({ onResolve }) =>
    onResolve({ filter: /./ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: 'node:fs', external: true } : undefined,
    ),
}

/** The exports of a module, given as TypeScript whose imports start at the root of the repository. */
export async function evaluate(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    write: false,
    logLevel: 'error',
    plugins: [lazy],
  })
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`)
}
