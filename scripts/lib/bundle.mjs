// src/cli.ts with its dependencies → dist/, which runs on plain Node.
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { at, root } from './paths.mjs'
import { ScriptError } from './run.mjs'
import { files, step } from './stamp.mjs'

const OBJECTS = ['xdp', 'explain', 'carry', 'bans'].map((name) => `${name}.bpf.o`)
const REQUIRE = [
  "import { createRequire as __createRequire } from 'node:module'",
  'const require = __createRequire(import.meta.url)',
  '',
].join('\n')

/**
 * Bundles src/cli.ts. Modules behind `await import()` become separate chunks beside cli.js (not in a folder, so that
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
  const outputs = ['cli.js', ...objects, ...schemas, 'NOTICES.txt'].map((name) => at('dist', name))
  return step('dist', { inputs, outputs }, async () => {
    const { build } = await import('esbuild')
    const { outputFiles, metafile } = await build({
      absWorkingDir: root,
      entryPoints: ['src/cli.ts'],
      outdir: 'dist',
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      chunkNames: '[name]-[hash]',
      minifySyntax: true,
      // Reading the code takes a large part of a short command's time.
      minifyWhitespace: true,
      legalComments: 'none',
      metafile: true,
      write: false,
      logLevel: 'silent',
    }).catch((error) => {
      const lines = (error.errors ?? []).map(({ text, location: at }) => (at ? `${at.file}:${at.line}: ${text}` : text))
      throw new ScriptError(`esbuild:\n${lines.join('\n') || error.message}`)
    })
    for (const folder of ['dist/bpf', 'dist/schemas']) mkdirSync(at(folder), { recursive: true })
    for (const { path, text } of outputFiles) write(path, text)
    const kept = new Set(outputFiles.map(({ path }) => basename(path)))
    for (const name of readdirSync(at('dist'))) if (name.endsWith('.js') && !kept.has(name)) rmSync(at('dist', name))
    for (const name of readdirSync(at('dist/bpf'))) if (!OBJECTS.includes(name)) rmSync(at('dist/bpf', name))
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

/** Writes one output file and makes it runnable: the entry is executable, and bundled CommonJS finds a `require`. */
function write(path, text) {
  const entry = basename(path) === 'cli.js'
  const prelude = text.includes('Dynamic require of') ? REQUIRE : ''
  replace(
    path,
    `${entry ? '#!/usr/bin/env node\n' : ''}${prelude}${text.replace(/^#!.*\n/, '')}`,
    entry ? 0o755 : 0o644,
  )
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
