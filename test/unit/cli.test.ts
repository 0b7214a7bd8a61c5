// The process itself: streams, pipes, signals, exit status. Bundled as it is shipped, run as users run it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
    // Bundled CommonJS looks for a `require`, which a module does not have.
    banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url)" },
    logLevel: 'error',
  })
  cpSync(SCHEMAS, join(folder, 'schemas'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(CONFIG, 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [198.51.100.0/24]\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs `xdp` with pipes. `reads` false: nobody reads its stdout. */
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

test('the result goes to stdout, the exit status tells', async () => {
  expect(await xdp(['validate'])).toEqual({
    status: 0,
    stdout: 'xdp.yaml is valid: 1 interface, 1 list with 1 prefix, default pass.\n',
    stderr: '',
  })
})

test('errors go to stderr without colour, as JSON to stdout', async () => {
  const text = await xdp(['validate', '-f', 'none.yaml'])
  expect(text).toMatchObject({ status: 66, stdout: '', stderr: expect.stringMatching(/^error\[E001 /) })
  const json = await xdp(['validate', '-f', 'none.yaml', '--json'])
  expect(json).toMatchObject({ status: 66, stderr: '' })
  expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'E001' } })
})

test('FORCE_COLOR colours a pipe', async () => {
  expect((await xdp(['nonsense'], { env: { FORCE_COLOR: '1' } })).stderr).toContain('\u001b[31m')
})

test('a reader that goes away is no error', async () => {
  expect(await xdp(['schema'], { reads: false })).toMatchObject({ status: 0, stderr: '' })
})

test('prints each schema as the package has it, and says so where it is missing', async () => {
  expect((await xdp(['schema', 'why'])).stdout).toBe(readFileSync(join(SCHEMAS, 'why.schema.json'), 'utf8'))
  rmSync(join(folder, 'schemas/why.schema.json'))
  expect(await xdp(['schema', 'why'])).toMatchObject({ status: 69, stderr: expect.stringContaining('E110') })
})

test('output larger than a pipe arrives whole', async () => {
  const entries = Array.from({ length: 4000 }, (_, at) => `  - { name: list-${at}, cidrs: [192.0.2.${at % 250}] }\n`)
  writeFileSync(join(folder, 'large.yaml'), `version: 1\ninterfaces: { eth0: {} }\nblocklist:\n${entries.join('')}`)
  const { stdout } = await xdp(['validate', '--json', '-f', 'large.yaml'])
  expect(stdout.length).toBeGreaterThan(200_000)
  expect(JSON.parse(stdout).lists).toHaveLength(4000)
})
