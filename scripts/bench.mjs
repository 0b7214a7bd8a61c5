// npm run bench NAME: compiles bench/*.bpf.c to build/bench/, bundles bench/NAME.ts and runs it. Arguments after NAME
// go to the benchmark. Without NAME: prints the list.
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { compile } from './lib/compile.mjs'
import { whyNoBpf } from './lib/host.mjs'
import { at, root } from './lib/paths.mjs'
import { attempt, main, run, ScriptError } from './lib/run.mjs'
import { setup } from './setup.mjs'

const names = () =>
  readdirSync(at('bench'))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => basename(file, '.ts'))

async function bundle(name) {
  const { build } = await import('esbuild')
  const outfile = at(`build/bench/${name}.mjs`)
  await build({
    absWorkingDir: root,
    entryPoints: [`bench/${name}.ts`],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    sourcemap: 'inline',
  })
  return outfile
}

await main(async () => {
  const [name, ...args] = process.argv.slice(2)
  if (name === undefined || !existsSync(at(`bench/${name}.ts`))) {
    throw new ScriptError(`usage: npm run bench NAME, where NAME is one of: ${names().join(', ')}`)
  }
  await setup()
  const reason = await whyNoBpf()
  if (reason) throw new ScriptError(`benchmarks run programs in the kernel: ${reason}`)
  await run(process.execPath, ['scripts/build.mjs'])
  mkdirSync(at('build/bench'), { recursive: true })
  const sources = readdirSync(at('bench')).filter((file) => file.endsWith('.bpf.c'))
  await Promise.all(sources.map((file) => compile(`bench/${file}`, `build/bench/${basename(file, '.c')}.o`)))
  const { status } = await attempt(process.execPath, ['--enable-source-maps', await bundle(name), ...args], {
    inherit: true,
  })
  process.exitCode = status
})
