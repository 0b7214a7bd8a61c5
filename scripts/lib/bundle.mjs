// src/cli.ts with its dependencies → dist/, which runs on plain Node, and in the executable.
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, relative } from 'node:path'
import { at, root } from './paths.mjs'
import { ScriptError } from './run.mjs'
import { digest, files, step } from './stamp.mjs'

const OBJECTS = ['xdp', 'explain', 'carry', 'bans', 'check', 'kinds'].map((name) => `${name}.bpf.o`)
/** The address of a module, in those that ask for it. */
const ADDRESS = "const __url=require('node:url').pathToFileURL(__filename).href;"

const OPTIONS = {
  absWorkingDir: root,
  entryPoints: ['src/cli.ts', 'src/checker.ts'],
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // The ES modules of the package, of which the bundle contains only what is used.
  alias: { yaml: at('node_modules/yaml/browser/dist/index.js') },
  chunkNames: '[name]-[hash]',
  minifySyntax: true,
  // Reading the code takes a large part of a short command's time.
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  write: false,
  logLevel: 'silent',
}

/** Paths of the outputs that a run of an entry loads before it imports anything dynamically. */
function staticOutputs(outputs, entry) {
  const seen = new Set()
  const follow = (path) => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { kind, external, path: next } of outputs[path].imports) {
      if (kind === 'import-statement' && !external) follow(next)
    }
  }
  follow(entry)
  return [...seen]
}

/** Paths of the source files in these outputs. */
const staticSources = (outputs, entry) =>
  staticOutputs(outputs, entry).flatMap((path) => Object.keys(outputs[path].inputs))

/** The command that must start fastest: fail2ban runs it for each address. */
const FASTEST = 'src/commands/verbs/ban.ts'

/** Commands whose modules are kept together beyond those of the fastest: the config, then observation and planner. */
const TIERS = ['src/commands/verbs/validate.ts', 'src/commands/verbs/plan.ts']

/** A command that needs this share of a tier's modules loads all of them. */
const MOST = 0.3

/** The modules of each tier that are in no earlier one, and shared. */
function tiersOf(outputs, needs, entries, core) {
  const taken = new Set(core)
  return TIERS.map((command) => {
    const entry = entries.find((path) => outputs[path].entryPoint === command)
    if (entry === undefined) throw new ScriptError(`${command} is no entry of the bundle`)
    const own = Object.keys(outputs[entry].inputs)
    const tier = needs.get(entry).filter((source) => !taken.has(source) && !own.includes(source))
    for (const source of tier) taken.add(source)
    return tier
  })
}

/**
 * An esbuild plugin that puts the modules that every run loads, and those of the fastest command, into few chunks: reading
 * a file takes Node as long as compiling 10 kB of code. esbuild makes a chunk for each set of entries that share modules,
 * so the commands import them all. Those that load nothing of the kernel (`validate`, completion) import only what any of
 * them needs, and only what every run loads if they need nothing else: they run at each key of an editor or shell. A command
 * that reads the config, or also plans, loads most of the modules of TIERS, and so all of them, for the same reason.
 *
 * @param outputs of a build without this plugin
 */
function oneCore(outputs) {
  const entries = Object.keys(outputs).filter((path) => /^src\/.*\.ts$/.test(outputs[path].entryPoint ?? ''))
  const fastest = entries.find((path) => outputs[path].entryPoint === FASTEST)
  if (fastest === undefined) throw new ScriptError(`${FASTEST} is no entry of the bundle`)
  const commands = entries.filter((path) => path !== 'dist/cli.js' && path !== 'dist/checker.js')
  // Those in the entries themselves are not shared.
  const own = ['dist/cli.js', fastest].flatMap((path) => Object.keys(outputs[path].inputs))
  const always = staticSources(outputs, 'dist/cli.js')
  const core = [...new Set([...always, ...staticSources(outputs, fastest)])].filter((path) => !own.includes(path))
  const needs = new Map(commands.map((path) => [path, staticSources(outputs, path)]))
  // Others are parts of commands that have loaded the core already.
  const direct = staticOutputs(outputs, 'dist/cli.js').flatMap((path) =>
    outputs[path].imports.flatMap(({ kind, path: next }) => (kind === 'dynamic-import' ? [next] : [])),
  )
  const isLight = (path) => direct.includes(path) && !needs.get(path).some((source) => source.startsWith('src/kernel/'))
  const shared = core.filter((source) => !always.includes(source))
  const light = shared.filter((source) => commands.some((path) => isLight(path) && needs.get(path).includes(source)))
  // What a light one loads must not bring the core along.
  const isOfLight = (path) =>
    isLight(path) || commands.some((one) => isLight(one) && needs.get(one).includes(outputs[path].entryPoint))
  const coreOf = (path) => {
    if (!isOfLight(path)) return core
    const isNeeded = light.some((source) => needs.get(path).includes(source))
    return core.filter((source) => always.includes(source) || (isNeeded && light.includes(source)))
  }
  const tiers = tiersOf(outputs, needs, entries, core)
  const importers = new Map(commands.map((path) => [path, []]))
  for (const path of entries) {
    const imports = staticOutputs(outputs, path).flatMap((output) => outputs[output].imports)
    for (const { kind, path: next } of imports) if (kind === 'dynamic-import') importers.get(next)?.push(path)
  }
  /** Whether an entry loads all of a tier: it needs most of it, or a part of what has loaded it already. */
  const loads = (path, tier, seen = []) => {
    const needed = needs.get(path)?.filter((source) => tier.includes(source)).length ?? 0
    if (needed >= MOST * tier.length) return true
    if (needed === 0 || direct.includes(path) || seen.includes(path)) return false
    return importers.get(path).every((one) => loads(one, tier, [...seen, path]))
  }
  const wholeTiers = (path) => tiers.filter((tier) => loads(path, tier))
  const imports = new Map(
    commands.map((path) => [
      outputs[path].entryPoint,
      [...coreOf(path), ...wholeTiers(path).flat()].map((source) => {
        const attributes = source.endsWith('.json') ? " with { type: 'json' }" : ''
        return `import ${JSON.stringify(at(source))}${attributes}\n`
      }),
    ]),
  )
  return {
    name: 'one-core',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const lines = imports.get(relative(root, path))
        return lines && { contents: `${lines.join('')}${readFileSync(path, 'utf8')}`, loader: 'ts' }
      })
    },
  }
}

/**
 * Bundles src/cli.ts, and src/checker.ts, which the daemon starts. Modules behind `await import()` become separate chunks beside cli.js (not in a folder, so that
 * `import.meta.url` has one directory in all of them). Returns whether anything was out of date.
 */
export function bundle() {
  const inputs = files(
    at('src'),
    at('build/schemas'),
    at('package.json'),
    at('package-lock.json'),
    at('scripts/lib/bundle.mjs'),
    ...OBJECTS.map((name) => at('build', name)),
  )
  const schemas = readdirSync(at('build/schemas')).map((name) => `schemas/${name}`)
  const objects = OBJECTS.map((name) => `bpf/${name}`)
  const outputs = [
    'xdp.js',
    'loader.cjs',
    'package.json',
    'cli.js',
    'checker.js',
    ...objects,
    ...schemas,
    'NOTICES.txt',
  ].map((name) => at('dist', name))
  return step('dist', { inputs, outputs }, async () => {
    const { build } = await import('esbuild')
    // Names the build by what it is made from, so that equal sources give equal bundles.
    const name = digest(inputs).slice(0, 16)
    const make = (...plugins) =>
      build({ ...OPTIONS, plugins, define: { XDP_BUILD: JSON.stringify(name) } }).catch((error) => {
        const lines = (error.errors ?? []).map(({ text, location: at }) =>
          at ? `${at.file}:${at.line}: ${text}` : text,
        )
        throw new ScriptError(`esbuild:\n${lines.join('\n') || error.message}`)
      })
    const { outputFiles, metafile } = await make(oneCore((await make()).metafile.outputs))
    const modules = await Promise.all(outputFiles.map(({ path, text }) => asScript(path, text)))
    for (const folder of ['dist/bpf', 'dist/schemas']) mkdirSync(at(folder), { recursive: true })
    for (const { path, text } of modules) replace(path, text)
    // Scripts, though package.json says otherwise.
    replace(at('dist/package.json'), '{ "type": "commonjs" }\n')
    replace(at('dist/loader.cjs'), readFileSync(at('src/loader.cjs'), 'utf8'))
    const kept = new Set(['xdp.js', ...outputFiles.map(({ path }) => basename(path))])
    for (const name of readdirSync(at('dist'))) if (name.endsWith('.js') && !kept.has(name)) rmSync(at('dist', name))
    for (const name of readdirSync(at('dist/bpf'))) if (!OBJECTS.includes(name)) rmSync(at('dist/bpf', name))
    replace(at('dist/xdp.js'), `#!/usr/bin/env node\n${readFileSync(at('src/launcher.js'), 'utf8')}`, 0o755)
    for (const name of OBJECTS) replace(at('dist/bpf', name), readFileSync(at('build', name)))
    for (const name of schemas) replace(at('dist', name), readFileSync(at('build', name)))
    replace(at('dist/NOTICES.txt'), notices(Object.keys(metafile.inputs)))
  })
}

/** Replaces a file atomically: a concurrent command sees either the old content or the new one. */
function replace(path, content, mode = 0o644) {
  const partial = `${path}.${process.pid}.part`
  writeFileSync(partial, content)
  chmodSync(partial, mode)
  renameSync(partial, path)
}

/**
 * A module as CommonJS: V8's code of modules can be kept only by Node 22.8 and newer, and a single executable application
 * has no files to import.
 */
async function asScript(path, text) {
  const { transform } = await import('esbuild')
  const { code } = await transform(text, {
    format: 'cjs',
    platform: 'node',
    target: OPTIONS.target,
    minifySyntax: true,
    minifyWhitespace: true,
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': '__url' },
  })
  return { path, text: `${text.includes('import.meta.url') ? ADDRESS : ''}${code}` }
}

/** The licences of every package in the bundle, which their terms require. */
function notices(inputs) {
  const packages = new Set(inputs.flatMap((path) => /^(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []))
  // The generated validator contains helpers of these; the bundler sees only the generated file.
  for (const name of ['ajv', 'fast-deep-equal']) packages.add(`node_modules/${name}`)
  const parts = [...packages].sort().map((directory) => {
    const { name, version, license } = JSON.parse(readFileSync(at(directory, 'package.json'), 'utf8'))
    const file = readdirSync(at(directory)).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file ? readFileSync(at(directory, file), 'utf8').trim() : `Licence: ${license}`
    return `${name} ${version} (${license})\n\n${text}\n`
  })
  return `xdp-as-code contains these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}
