// The packed tarball that users install: complete, without dependencies, and usable without clang.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { npm, pack } from '../support/package.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const { name, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, string>

let work: string
let packed: readonly string[]
let xdp: string

/** A PATH with only Node. */
function barePath(): string {
  const bin = join(work, 'bin')
  mkdirSync(bin, { recursive: true })
  symlinkSync(process.execPath, join(bin, 'node'))
  return bin
}

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'xdp-package-'))
  const { tarball, paths } = await pack(work)
  packed = paths
  const target = join(work, 'target')
  mkdirSync(target)
  writeFileSync(join(target, 'package.json'), '{}')
  await npm(['install', '--no-save', tarball], target)
  xdp = join(target, 'node_modules/.bin/xdp')
})

afterAll(() => {
  rmSync(work, { recursive: true, force: true })
})

test('the tarball has every file that running needs', () => {
  for (const path of [
    'dist/cli.js',
    'dist/loader.cjs',
    'dist/package.json',
    'dist/xdp.js',
    'dist/bpf/bans.bpf.o',
    'dist/bpf/carry.bpf.o',
    'dist/bpf/explain.bpf.o',
    'dist/bpf/xdp.bpf.o',
    'dist/NOTICES.txt',
    'dist/man/xdp.8',
    'dist/man/xdp.yaml.5',
    'docs/errors.md',
    'schemas/xdp.schema.json',
    'dist/schemas/xdp.schema.json',
    'dist/schemas/plan.schema.json',
    'examples/minimal.yaml',
    'LICENSE',
    'bpf/LICENSES/GPL-2.0-only.txt',
    'bpf/LICENSES/BSD-2-Clause.txt',
    'bpf/xdp.bpf.c',
    'README.md',
  ]) {
    expect(packed).toContain(path)
  }
})

test('the tarball has no file that only development needs', () => {
  expect(packed.filter((path) => /^(?:src|test|scripts|build|bench|node_modules|\.)/.test(path))).toEqual([])
})

test('installs without any other package', () => {
  const installed = readdirSync(join(work, 'target/node_modules')).filter((entry) => !entry.startsWith('.'))
  expect(installed).toEqual([name])
})

test('runs with only Node in the PATH', async () => {
  const env = { PATH: barePath() }
  const shown = await execa(xdp, ['--version'], { env, extendEnv: false })
  expect(shown.stdout).toContain(version)
  const example = join(work, 'target/node_modules', name ?? '', 'examples/minimal.yaml')
  const validated = await execa(xdp, ['validate', '-f', example], { env, extendEnv: false })
  expect(validated.exitCode).toBe(0)
})

test('the license notices name every bundled package', () => {
  const notices = readFileSync(join(ROOT, 'dist/NOTICES.txt'), 'utf8')
  for (const bundled of ['execa', 'yaml']) expect(notices).toContain(`\n${bundled} `)
})
