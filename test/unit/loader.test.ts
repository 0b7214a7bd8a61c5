// V8's code of the modules, which starts keep in the cache.
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const LOADER = join(import.meta.dirname, '../../src/loader.cjs')

let folder: string
let code: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-loader-'))
  code = join(folder, 'code')
  copyFileSync(LOADER, join(folder, 'loader.cjs'))
  writeFileSync(join(folder, 'start.cjs'), "require('./loader.cjs').run(__dirname, './cli.js', process.argv[2])")
  module('cli', "exports.name = 'cli'; require('./' + process.argv[3] + '.js')")
  module('plan', "console.log(require('./cli.js').name, function answer() { return 'plans' }())")
  module('fails', 'process.exitCode = 1')
})
afterEach(() => rmSync(folder, { recursive: true }))

function module(name: string, text: string): void {
  writeFileSync(join(folder, `${name}.js`), text)
}

function run(command: string, ...flags: readonly string[]): string {
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, join(folder, 'start.cjs'), code, command], {
    encoding: 'utf8',
  })
  return stdout + stderr
}

/** The file with the code, which a run replaces only if it had to compile a module. */
const kept = (): string => join(code, readdirSync(code)[0] as string)
const written = (): bigint => statSync(kept(), { bigint: true }).ino
const names = (): string[] =>
  JSON.parse(readFileSync(kept(), 'latin1').split('\n', 1)[0] as string).map(({ name }: { name: string }) => name)

test('a second run compiles nothing', () => {
  expect(run('plan')).toBe('cli plans\n')
  const first = written()
  expect(run('plan')).toBe('cli plans\n')
  expect(written()).toBe(first)
  expect(readdirSync(code)).toHaveLength(1)
})

test('a command adds its modules to those of others, and modules that are gone leave', () => {
  module('why', "console.log('why')")
  run('plan')
  run('why')
  expect(names().sort()).toEqual(['./cli.js', './plan.js', './why.js'])
  rmSync(join(folder, 'plan.js'))
  module('apply', "console.log('applies')")
  run('apply')
  expect(names().sort()).toEqual(['./apply.js', './cli.js', './why.js'])
})

test('code of another text of equal length is not used', () => {
  run('plan')
  module('plan', readFileSync(join(folder, 'plan.js'), 'utf8').replace('plans', 'lists'))
  expect(run('plan')).toBe('cli lists\n')
  expect(run('plan')).toBe('cli lists\n')
})

test('damaged, cut and foreign files of code cost time, and are replaced', () => {
  run('plan')
  const whole = readFileSync(kept())
  const damaged = Buffer.from(whole)
  for (let at = whole.indexOf('\n') + 1; at < damaged.length; at += 64) damaged[at] = 255 - (damaged[at] as number)
  for (const bytes of [damaged, whole.subarray(0, whole.length - 100), Buffer.from('null\n'), Buffer.alloc(0)]) {
    writeFileSync(kept(), bytes)
    expect(run('plan')).toBe('cli plans\n')
    expect(names().sort()).toEqual(['./cli.js', './plan.js'])
    expect(readFileSync(kept()).equals(bytes)).toBe(false)
  }
})

test('code that V8 refuses, of other flags, is replaced', () => {
  run('plan')
  const first = written()
  expect(run('plan', '--stack-size=900')).toBe('cli plans\n')
  expect(written()).not.toBe(first)
})

test('a command that fails keeps nothing, because it may have run little', () => {
  run('fails')
  expect(() => readdirSync(code)).toThrow('ENOENT')
})

test('a cache that cannot be written changes nothing', () => {
  writeFileSync(code, 'a file in place of the directory')
  expect(run('plan')).toBe('cli plans\n')
  rmSync(code)
  mkdirSync(join(code, `${process.version}-${process.arch}`), { recursive: true })
  expect(run('plan')).toBe('cli plans\n')
})
