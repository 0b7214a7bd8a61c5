// npm run build [-- generate]: bpf/*.bpf.c → build/*.bpf.o; bpf/include/ → src/abi/generated.ts, src/report/generated.ts;
// the config's schema → src/config/generated/; schemas and records of src/ → build/schemas/ and the tables of
// docs/config.md, docs/metrics.md and docs/drivers.md; src/ → dist/ with the objects and schemas it reads; commands, schema and docs →
// dist/man/. Does only what is out of date. `generate` stops before the bundle.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { bundle } from './lib/bundle.mjs'
import { compile } from './lib/compile.mjs'
import { at } from './lib/paths.mjs'
import { main, run } from './lib/run.mjs'
import { files, step } from './lib/stamp.mjs'

/** The versions of the packages that generators use. */
const LOCK = 'package-lock.json'

/** Compiles every entry point of a directory. Returns the objects' paths. */
async function objects(directory, target) {
  const sources = existsSync(at(directory)) ? readdirSync(at(directory)).filter((name) => name.endsWith('.bpf.c')) : []
  const pairs = sources.map((name) => [`${directory}/${name}`, `${target}/${basename(name, '.c')}.o`])
  const made = await Promise.all(pairs.map(([source, object]) => compile(source, object)))
  pairs.forEach(([, object], index) => {
    if (made[index]) console.log(`build: ${object}`)
  })
}

/** The codecs of src/abi, from the BTF of the shared layouts. */
async function abi() {
  const script = 'scripts/generate-layouts.mjs'
  const source = 'build/abi/abi.bpf.c'
  const object = 'build/abi.bpf.o'
  const generated = 'src/abi/generated.ts'
  await step('layouts', { inputs: files(at(script), at('bpf/include')), outputs: [at(source)] }, () =>
    run(process.execPath, [script, source]),
  )
  await compile(source, object)
  const inputs = [at(object), at('scripts/generate-abi.mjs')]
  const made = await step('abi', { inputs, outputs: [at(generated)] }, () =>
    run(process.execPath, ['scripts/generate-abi.mjs', object, generated]),
  )
  if (made) console.log(`build: ${generated}`)
}

/** The reasons of verdicts for src/report. */
async function reasons() {
  const script = 'scripts/generate-reasons.mjs'
  const generated = 'src/report/generated.ts'
  const inputs = [script, 'bpf/include/abi.h'].map((path) => at(path))
  const made = await step('reasons', { inputs, outputs: [at(generated)] }, () =>
    run(process.execPath, [script, generated]),
  )
  if (made) console.log(`build: ${generated}`)
}

/** The precompiled validator of the config, and the words of its errors. */
async function config() {
  const scripts = ['scripts/generate-validator.mjs', 'scripts/generate-words.mjs']
  const schema = ['schemas/xdp.schema.json', 'scripts/schema', LOCK]
  const inputs = files(...[...scripts, ...schema].map((path) => at(path)))
  const outputs = ['validate.js', 'validate.d.ts', 'words.js', 'words.d.ts'].map((name) =>
    at('src/config/generated', name),
  )
  const make = () => Promise.all(scripts.map((script) => run(process.execPath, [script])))
  if (await step('config', { inputs, outputs }, make)) console.log('build: src/config/generated')
}

/** The schemas, each in one file. */
async function schemas() {
  const script = 'scripts/generate-schemas.mjs'
  const target = 'build/schemas'
  const inputs = files(...[script, 'scripts/lib', 'scripts/schema', 'schemas', 'src', LOCK].map((path) => at(path)))
  const outputs = existsSync(at(target)) ? files(at(target)) : [at(target)]
  const made = await step('schemas', { inputs, outputs }, () => run(process.execPath, [script, target]))
  if (made) console.log(`build: ${target}`)
}

/** The tables of keys in docs/config.md, of metrics in docs/metrics.md, of drivers in docs/drivers.md, and docs/compatibility.md. */
async function reference() {
  const script = 'scripts/generate-reference.mjs'
  const pages = ['docs/config.md', 'docs/metrics.md', 'docs/drivers.md', 'docs/compatibility.md']
  const matrix = ['scripts/kernels/matrix.mjs', 'test/kernels/results.json']
  const sources = [script, 'scripts/lib', 'scripts/schema', 'schemas/xdp.schema.json', 'src', LOCK, ...matrix]
  const inputs = files(...[...sources, ...pages].map((path) => at(path)))
  const before = pages.map((page) => readFileSync(at(page), 'utf8'))
  await step('reference', { inputs, outputs: pages.map((page) => at(page)) }, () => run(process.execPath, [script]))
  pages.forEach((page, i) => {
    if (readFileSync(at(page), 'utf8') !== before[i]) console.log(`build: ${page}`)
  })
}

/** The manual pages. */
async function man() {
  const script = 'scripts/generate-man.mjs'
  const texts = ['schemas/xdp.schema.json', 'docs/commands.md', 'docs/config.md', 'package.json', LOCK]
  const code = [script, 'scripts/lib', 'scripts/man', 'scripts/schema', 'src/commands']
  const inputs = files(...[...code, ...texts].map((path) => at(path)))
  const outputs = ['xdp.8', 'xdp.yaml.5'].map((name) => at('dist/man', name))
  const made = await step('man', { inputs, outputs }, () => run(process.execPath, [script, 'dist/man']))
  if (made) console.log('build: dist/man')
}

await main(async () => {
  await Promise.all([objects('bpf', 'build'), abi(), objects('test/bpf', 'build/test'), reasons(), config()])
  // These read the code, generated one included.
  await Promise.all([schemas(), reference()])
  if (process.argv[2] === 'generate') return
  if (await bundle()) console.log('build: dist')
  await man()
})
