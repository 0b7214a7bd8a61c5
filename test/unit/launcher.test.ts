// The file that `xdp` of the npm package starts with, as a Node of any version would run it.
import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CODES } from '../../src/diagnostics.ts'
import { check } from '../support/schemas.ts'

const ROOT = join(import.meta.dirname, '../..')
const LAUNCHER = readFileSync(join(ROOT, 'src/launcher.js'), 'utf8')
const NEEDED = /\d+\.\d+/.exec(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).engines.node)?.[0] ?? ''

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-launcher-'))
  writeFileSync(join(folder, 'xdp.js'), LAUNCHER)
  writeFileSync(join(folder, 'cli.js'), 'console.log("started")')
  copyFileSync(join(ROOT, 'src/loader.cjs'), join(folder, 'loader.cjs'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }')
  const fake =
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: process.env.VERSION } })'
  writeFileSync(join(folder, 'version.cjs'), fake)
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs the launcher in a Node that says it is of another version. */
function launch(version: string, ...argv: readonly string[]) {
  return new Promise<{ status: number | undefined; stdout: string; stderr: string }>((resolve) => {
    const words = ['--require', './version.cjs', 'xdp.js', ...argv]
    const options = { cwd: folder, env: { ...process.env, VERSION: version } }
    const child = execFile(process.execPath, words, options, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? undefined, stdout, stderr }),
    )
  })
}

test.each(['10.24.0', '18.19.0', '20.18.3'])(
  'Node %s is refused in one line, whatever the command',
  async (version) => {
    for (const argv of [['plan'], ['--version'], []]) {
      const { status, stdout, stderr } = await launch(version, ...argv)
      expect([status, stdout]).toEqual([CODES.E258.exit, ''])
      expect(stderr).toBe(
        `error[E258 ${CODES.E258.name}]: xdp needs Node ${NEEDED} or newer, and ${process.execPath} is ${version}; ` +
          'install the package that contains its own Node (docs/install.md), or a newer Node\n',
      )
    }
  },
)

test('with --json the refusal is the document of every error', async () => {
  const { status, stdout, stderr } = await launch('18.19.0', 'plan', '--json')
  expect([status, stderr]).toEqual([CODES.E258.exit, ''])
  const document = check('error', stdout)
  expect(document).toMatchObject({ error: { message: expect.stringContaining('18.19.0') } })
})

test.runIf(spawnSync('python3', ['--version']).status === 0)(
  "Ansible's module fails with the line, and with the exit status",
  async () => {
    const xdp = join(folder, 'xdp')
    const command = `exec "${process.execPath}" --require "${folder}/version.cjs" "${folder}/xdp.js" "$@"`
    writeFileSync(xdp, `#!/bin/sh\nVERSION=18.19.0 ${command}\n`, { mode: 0o755 })
    writeFileSync(join(folder, 'xdp.yaml'), 'version: 1\n')
    const options = { path: join(folder, 'xdp.yaml'), executable: xdp, _ansible_check_mode: true }
    writeFileSync(join(folder, 'arguments.json'), JSON.stringify(options))
    const module = join(ROOT, 'examples/ansible/roles/xdp/library/xdp_apply.py')
    const stdout = await new Promise<string>((resolve) => {
      execFile('python3', [module, join(folder, 'arguments.json')], (_error, text) => resolve(text))
    })
    expect(JSON.parse(stdout)).toMatchObject({
      failed: true,
      exit_status: CODES.E258.exit,
      msg: expect.stringMatching(/^error\[E258 old-node\]: xdp needs Node .*18\.19\.0\nhint: /),
    })
  },
)

test.each(['20.19.0', '22.0.0', '30.1.0'])('Node %s starts xdp', async (version) => {
  expect(await launch(version, 'plan')).toMatchObject({ status: 0, stdout: 'started\n', stderr: '' })
})

test.each([
  { mode: 0o700, isKept: true },
  { mode: 0o770, isKept: false },
  { mode: 0o707, isKept: false },
])('code is kept in a cache of mode $mode: $isKept', async ({ mode, isKept }) => {
  const cache = mkdtempSync(join(folder, 'cache-'))
  chmodSync(cache, mode)
  const stdout = await new Promise<string>((resolve) => {
    const options = { cwd: folder, env: { ...process.env, CACHE_DIRECTORY: cache } }
    execFile(process.execPath, ['xdp.js'], options, (_error, text) => resolve(text))
  })
  expect(stdout).toBe('started\n')
  expect(existsSync(join(cache, 'code'))).toBe(isKept)
})

test('has no syntax that Node 10 does not know, and none of modules alone', () => {
  const compiled = (target: ts.ScriptTarget): string =>
    ts.transpileModule(LAUNCHER, { compilerOptions: { target, module: ts.ModuleKind.ESNext } }).outputText
  expect(compiled(ts.ScriptTarget.ES2018)).toBe(compiled(ts.ScriptTarget.ESNext))
  expect(LAUNCHER).not.toMatch(/^(?:import|export) /m)
})
