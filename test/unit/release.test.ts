// A release of a clone: the section of the changelog, the tag, checksums, the bill of materials and the notices.
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const PACKAGES = [
  `xdp-${version}-linux-x64`,
  `xdp-as-code-${version}-oci-amd64.tar`,
  `xdp-as-code-${version}.x86_64.rpm`,
  `xdp-as-code_${version}_amd64.deb`,
]

let clone = ''
const git = (...args: readonly string[]) => execFileSync('git', args, { cwd: clone, encoding: 'utf8' })
const commit = (message: string) => {
  git('add', '--all')
  git('commit', '--quiet', '--message', message)
}

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'xdp-release-'))
  for (const path of ['scripts', 'package.json', 'package-lock.json', '.gitignore'])
    cpSync(join(ROOT, path), join(clone, path), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'))
  writeFileSync(
    join(clone, 'CHANGELOG.md'),
    '# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.0.1\n\n- Older.\n',
  )
  mkdirSync(join(clone, 'dist'))
  writeFileSync(join(clone, 'dist/NOTICES.txt'), 'This program contains the following packages.\n')
  git('init', '--quiet')
  git('config', 'user.name', 'Test')
  git('config', 'user.email', 'test@example.net')
  writeFileSync(join(clone, '.gitignore'), 'dist/\nbuild/\nnode_modules\n')
  commit('a commit')
})
afterEach(() => rmSync(clone, { recursive: true, force: true }))

const release = (...args: readonly string[]) =>
  spawnSync(process.execPath, ['scripts/release.mjs', ...args], { cwd: clone, encoding: 'utf8' })

function pack() {
  mkdirSync(join(clone, 'build/package'), { recursive: true })
  const time = git('log', '-1', '--format=%ct').trim().padEnd(12)
  const content = (name: string) =>
    name.endsWith('.deb') ? `!<arch>\ndebian-binary   ${time}` : `content of ${name}\n`
  for (const name of PACKAGES) writeFileSync(join(clone, 'build/package', name), content(name))
  writeFileSync(join(clone, 'build/package/xdp-as-code_9.9.9_amd64.deb'), 'another version\n')
}

test('is prepared once, and has checksums, notes, notices and a bill of the packages of its version', () => {
  expect(release()).toMatchObject({ status: 1, stderr: expect.stringContaining('npm run release -- --prepare') })
  expect(release('--prepare')).toMatchObject({ status: 0, stderr: '' })
  expect(readFileSync(join(clone, 'CHANGELOG.md'), 'utf8')).toMatch(
    new RegExp(`## Unreleased\n\n## ${version} \\(\\d{4}-\\d\\d-\\d\\d\\)\n\n### Added`),
  )
  expect(git('log', '-1', '--format=%s').trim()).toBe(`release: ${version}`)
  expect(git('tag', '--list', '--format=%(contents)', `v${version}`).trim()).toBe('### Added\n\n- A thing.')
  expect(release('--prepare').stderr).toContain('is empty')

  expect(release()).toMatchObject({ status: 1, stderr: expect.stringContaining('npm run package') })
  pack()
  expect(release()).toMatchObject({ status: 0, stderr: '' })
  const directory = join(clone, 'build/package')
  const read = (name: string) => readFileSync(join(directory, name), 'utf8')
  const checked = execFileSync('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: directory, encoding: 'utf8' })
  expect(checked).toBe(PACKAGES.map((name) => `${name}: OK\n`).join(''))
  expect(JSON.parse(read('sbom.cdx.json'))).toMatchObject({ bomFormat: 'CycloneDX' })
  expect(read('notes.md')).toBe('### Added\n\n- A thing.\n')
  expect(read('NOTICES.txt')).toContain('following packages')
})

test('is made from a commit', () => {
  expect(release('--prepare').status).toBe(0)
  pack()
  writeFileSync(join(clone, 'package.json'), `${readFileSync(join(clone, 'package.json'), 'utf8')}\n`)
  expect(release()).toMatchObject({ status: 1, stderr: expect.stringContaining('package.json') })
})

test('refuses packages of an earlier commit', () => {
  expect(release('--prepare').status).toBe(0)
  pack()
  writeFileSync(join(clone, 'another'), '')
  git('add', '--all')
  const later = '2030-01-01T00:00:00Z'
  execFileSync('git', ['commit', '--quiet', '--message', 'another commit'], {
    cwd: clone,
    env: { ...process.env, GIT_COMMITTER_DATE: later, GIT_AUTHOR_DATE: later },
  })
  const old = `xdp-as-code_${version}_amd64.deb was built from another commit: npm run package`
  expect(release()).toMatchObject({ status: 1, stderr: expect.stringContaining(old) })
})
