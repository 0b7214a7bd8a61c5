// The Ansible module, called like Ansible calls it; and the parts of its example that need no Ansible.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { shownPolicy } from '../../src/render/policy.ts'

const ROOT = join(import.meta.dirname, '../..')
const ROLE = join(ROOT, 'examples/ansible/roles/xdp')

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-ansible-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Calls the module. `xdp`: a script that replaces xdp; undefined: xdp is not installed. */
function call(options: Readonly<Record<string, unknown>>, xdp?: string) {
  const executable = join(folder, 'xdp')
  if (xdp !== undefined) writeFileSync(executable, `#!/bin/sh\n${xdp}\n`)
  if (xdp !== undefined) chmodSync(executable, 0o755)
  const file = join(folder, 'arguments.json')
  writeFileSync(file, JSON.stringify({ executable, path: join(folder, 'xdp.yaml'), ...options }))
  const module = join(ROLE, 'library/xdp_apply.py')
  const { status, stdout } = spawnSync('python3', [module, file], { encoding: 'utf8' })
  rmSync(file)
  return { status, answer: JSON.parse(stdout) }
}

const CHECK = { _ansible_check_mode: true, _ansible_diff: true, _ansible_version: '2.14' }

const withPython = test.runIf(spawnSync('python3', ['--version']).status === 0)

withPython.each([
  [{ contents: '' }, 'unknown option contents; valid options are path, content'],
  [{ content: 5 }, 'content must be a string'],
  [{ accept_shrink: 'maybe' }, 'accept_shrink must be a boolean'],
  [{ mode: 'u=rw' }, 'mode must be three octal digits'],
  [{ path: '/' }, '/: Is a directory'],
  [{ path: '/dev/null/xdp.yaml', content: 'x' }, '/dev/null: File exists'],
])('rejects %j', (options, message) => {
  const { status, answer } = call(options, 'exit 0')
  expect(status).toBe(1)
  expect(answer).toMatchObject({ failed: true, msg: expect.stringContaining(message) })
})

withPython('on a host that is not set up yet, check mode names the missing part and shows the file', () => {
  const diff = [{ before: '', after: 'version: 1\n' }]
  expect(call({ content: 'version: 1\n', ...CHECK })).toMatchObject({
    status: 0,
    answer: { changed: true, msg: expect.stringContaining('is not installed yet'), diff },
  })
  const path = join(folder, 'none/xdp.yaml')
  expect(call({ content: 'version: 1\n', path, ...CHECK }, 'exit 0').answer).toMatchObject({
    changed: true,
    msg: expect.stringContaining('does not exist yet'),
    diff,
  })
  expect(readdirSync(folder)).toEqual(['xdp'])
})

withPython('fails without xdp, and writes no file', () => {
  const { status, answer } = call({ content: 'version: 1\n' })
  expect(status).toBe(1)
  expect(answer.msg).toContain('is not installed')
  expect(readdirSync(folder)).toEqual([])
})

withPython('restores the old file if the apply fails after a good plan', () => {
  const path = join(folder, 'xdp.yaml')
  writeFileSync(path, 'old\n', { mode: 0o640 })
  const error = { code: 'E106', name: 'locked', severity: 'error', message: 'busy', hint: 'wait', at: null }
  const script = `case "$1" in
plan) echo '{"changes":[{"key":"policy"}],"warnings":[]}' ;;
apply) grep -q new "$3" || exit 9; echo '${JSON.stringify({ error, errors: [error] })}'; exit 75 ;;
esac`
  const { status, answer } = call({ content: 'new\n' }, script)
  expect(status).toBe(1)
  expect(answer).toMatchObject({ failed: true, exit_status: 75, msg: 'error[E106 locked]: busy\nhint: wait' })
  expect(readFileSync(path, 'utf8')).toBe('old\n')
  expect(readdirSync(folder).toSorted()).toEqual(['xdp', 'xdp.yaml'])
})

withPython('a program of the name that is not this xdp is named, and nothing is written', () => {
  for (const answer of ['', 'hello', '[]', '{"changes": []}', 'null']) {
    const { status, answer: found } = call({ content: 'version: 1\n' }, `echo '${answer}'`)
    expect([answer, status, found.msg]).toEqual([answer, 1, expect.stringContaining('printed no document of xdp')])
  }
  expect(readdirSync(folder)).toEqual(['xdp'])
  expect(call({ content: 'x' }, 'echo "{broken"; echo why >&2; exit 3').answer).toMatchObject({
    msg: 'why',
    exit_status: 3,
  })
})

withPython('refuses an old file that is no text, and shows keys in differences by their fingerprints', () => {
  const path = join(folder, 'xdp.yaml')
  writeFileSync(path, Buffer.from([0xff, 0xfe, 0x00]))
  expect(call({ content: 'x' }, 'exit 0').answer.msg).toBe(`${path} is not UTF-8`)
  const key = (digits: string): string => `balancer: { hash_key: ${digits.repeat(16)} }\n`
  writeFileSync(path, key('0a'))
  const plan = `echo '{"changes":[],"warnings":[]}'`
  const { diff } = call({ content: key('0B'), ...CHECK }, plan).answer
  const shown = (secret: string): string => shownPolicy({ ...DEFAULT_POLICY, hash_key: secret.repeat(16) }).hash_key
  expect(diff).toMatchObject([
    { before: expect.stringContaining(`(fingerprint ${shown('0a')})`), after: expect.stringContaining(shown('0b')) },
  ])
})

test('the role installs its own version, and its example is a valid config', async () => {
  const read = (path: string) => parse(readFileSync(path, 'utf8'))
  expect(read(join(ROLE, 'defaults/main.yml')).xdp_version).toBe(read(join(ROOT, 'package.json')).version)
  const [{ roles }] = read(join(ROOT, 'examples/ansible/site.yml'))
  const path = join(folder, 'xdp.yaml')
  writeFileSync(path, stringify(roles[0].vars.xdp_config))
  expect((await loadConfig(path)).warnings).toEqual([])
})

test('its documentation names every option of the module, with the type and default that the module has', () => {
  const text = readFileSync(join(ROLE, 'library/xdp_apply.py'), 'utf8')
  const part = (name: string) => parse(new RegExp(`^${name} = r"""\\n([\\s\\S]*?)^"""`, 'm').exec(text)?.[1] ?? '')
  const { options } = part('DOCUMENTATION') as { options: Record<string, { type: string; default?: unknown }> }
  const taken = [...(/^OPTIONS = \{\n([\s\S]*?)^\}/m.exec(text)?.[1] ?? '').matchAll(/"(\w+)": (str|bool),/g)]
  const documented = Object.entries(options).map(([name, { type }]) => [name, type === 'bool' ? 'bool' : 'str'])
  expect(taken.map(([, name, type]) => [name, type])).toEqual(documented)
  expect(options['path']?.default).toBe('/etc/xdp/xdp.yaml')
  expect(Object.keys(part('RETURN')).toSorted()).toEqual(['changes', 'errors', 'exit_status', 'warnings'])
  expect(part('EXAMPLES')).toHaveLength(2)
})
