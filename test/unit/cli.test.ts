// The process: streams, pipes, signals, exit status. Runs the bundle as it is shipped.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SCHEMAS } from '../support/schemas.ts'

const folder = mkdtempSync(join(tmpdir(), 'xdp-cli-'))
const CLI = join(folder, 'cli.js')
const CONFIG = join(folder, 'xdp.yaml')

beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, '../../src/cli.ts')],
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // Bundled CommonJS needs `require`, which modules do not have.
    banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url)" },
    logLevel: 'error',
  })
  cpSync(SCHEMAS, join(folder, 'schemas'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(CONFIG, 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [198.51.100.0/24]\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs `xdp` with pipes. `reads` false: closes its stdout unread. */
async function xdp(argv: readonly string[], { env = {}, reads = true } = {}) {
  const child = spawn(process.execPath, [CLI, ...argv], { cwd: folder, env: { PATH: process.env['PATH'], ...env } })
  const seen = { stdout: '', stderr: '' }
  child.stderr.on('data', (data) => {
    seen.stderr += data
  })
  if (reads) {
    child.stdout.on('data', (data) => {
      seen.stdout += data
    })
  } else child.stdout.destroy()
  const [status] = await once(child, 'close')
  return { status, ...seen }
}

test('writes the result to stdout, with exit status 0', async () => {
  expect(await xdp(['validate'])).toEqual({
    status: 0,
    stdout: 'xdp.yaml is valid: 1 interface, 1 list with 1 prefix, default pass.\n',
    stderr: '',
  })
})

test.runIf(existsSync('/dev/full'))('reports output that a full disk did not take, and does not crash', async () => {
  const run = (line: string) =>
    spawnSync('sh', ['-c', `"$0" "$1" ${line}`, process.execPath, CLI], { cwd: folder, encoding: 'utf8' })
  const text = 'error[E405 cannot-write]: the output could not be written: ENOSPC\n'
  for (const line of ['validate', 'schema', '--version', 'help apply', 'completion bash']) {
    expect([line, run(`${line} >/dev/full`)]).toEqual([line, expect.objectContaining({ status: 1, stderr: text })])
  }
  const failed = run('validate -f none.yaml --json >/dev/full')
  expect(failed).toMatchObject({ status: 66, stderr: expect.stringContaining('E001') })
  expect(run('validate 2>/dev/full')).toMatchObject({ status: 0, stdout: expect.stringContaining('is valid') })
  expect(run('validate -f none.yaml 2>/dev/full')).toMatchObject({ status: 66 })
})

test('writes errors to stderr without colour, with --json to stdout', async () => {
  const text = await xdp(['validate', '-f', 'none.yaml'])
  expect(text).toMatchObject({ status: 66, stdout: '', stderr: expect.stringMatching(/^error\[E001 /) })
  const json = await xdp(['validate', '-f', 'none.yaml', '--json'])
  expect(json).toMatchObject({ status: 66, stderr: '' })
  expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'E001' } })
  const nothing = await xdp(['--json'])
  expect(nothing).toMatchObject({ status: 64, stderr: '' })
  expect(JSON.parse(nothing.stdout)).toMatchObject({ error: { code: 'E300' } })
  expect(await xdp([])).toMatchObject({ status: 64, stdout: '', stderr: expect.stringContaining('Usage: xdp COMMAND') })
})

test('FORCE_COLOR colours a pipe', async () => {
  expect((await xdp(['nonsense'], { env: { FORCE_COLOR: '1' } })).stderr).toContain('\u001b[31m')
})

test('exits 0 if the reader closes the pipe', async () => {
  expect(await xdp(['schema'], { reads: false })).toMatchObject({ status: 0, stderr: '' })
})

test('prints each schema as packaged; exits 69 if its file is missing', async () => {
  expect((await xdp(['schema', 'why'])).stdout).toBe(readFileSync(join(SCHEMAS, 'why.schema.json'), 'utf8'))
  rmSync(join(folder, 'schemas/why.schema.json'))
  expect(await xdp(['schema', 'why'])).toMatchObject({ status: 69, stderr: expect.stringContaining('E110') })
})

test('delivers output larger than a pipe buffer', async () => {
  const entries = Array.from({ length: 4000 }, (_, at) => `  - { name: list-${at}, cidrs: [192.0.2.${at % 250}] }\n`)
  writeFileSync(join(folder, 'large.yaml'), `version: 1\ninterfaces: { eth0: {} }\nblocklist:\n${entries.join('')}`)
  const { stdout } = await xdp(['validate', '--json', '-f', 'large.yaml'])
  expect(stdout.length).toBeGreaterThan(200_000)
  expect(JSON.parse(stdout).lists).toHaveLength(4000)
})
