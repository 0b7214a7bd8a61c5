// The RPM of one architecture, written without rpmbuild. Equal sources give equal bytes.
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import manifest from '../../package.json' with { type: 'json' }
import { at } from '../lib/paths.mjs'
import { run } from '../lib/run.mjs'
import { ARCHITECTURES } from './node.mjs'
import { archive, assemble } from './rpm-format.mjs'
import { CONFIG, NAME, settle, sourceDate, walk, writeTree } from './tree.mjs'

const RELEASE = '1'
const SUMMARY = 'Packet filter and load balancer in XDP, from one YAML file'
const DESCRIPTION = `xdp filters and balances packets in XDP, the earliest and fastest place in the
kernel. One YAML file describes the policy: plan shows the difference to the
live kernel, apply makes the change so that every packet meets the old policy
or the new one, verifies it with test packets, and rolls back on a failure.

The package needs neither Node nor a compiler. It enables no unit and names no
interface until /etc/xdp/xdp.yaml does.`

/** RPMSENSE_*: relations of dependencies, and what they are for. */
const AT_MOST = 0x0a
const EQUAL = 0x08
const RPMLIB = 1 << 24
const SHELL = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12)

const LIBRARIES = ['libc.so.6(GLIBC_2.28)(64bit)', 'libgcc_s.so.1()(64bit)', 'libstdc++.so.6()(64bit)']
const REQUIRES = [
  ['/bin/sh', SHELL, ''],
  ['bpftool', 0, ''],
  ['iproute', 0, ''],
  // flock, setsid and setpriv; Debian has them on every system.
  ['util-linux', 0, ''],
  ...LIBRARIES.map((name) => [name, 0, '']),
  ['rpmlib(CompressedFileNames)', RPMLIB | AT_MOST, '3.0.4-1'],
  ['rpmlib(FileDigests)', RPMLIB | AT_MOST, '4.6.0-1'],
  ['rpmlib(PayloadFilesHavePrefix)', RPMLIB | AT_MOST, '4.0-1'],
]
const XZ = ['rpmlib(PayloadIsXz)', RPMLIB | AT_MOST, '5.2-1']

/** Directories of the package itself; the others belong to other packages. */
const OWN = /^(?:etc\/xdp|usr\/share\/(?:doc\/|licenses\/)?xdp-as-code)(?:\/|$)/

/** RPMFILE_*: config and noreplace, license, documentation. */
function flagsOf(path, isDirectory) {
  if (path === CONFIG) return 0x11
  if (isDirectory) return 0
  if (path.startsWith('usr/share/licenses/')) return 0x80
  return /^usr\/share\/(?:doc|man)\//.test(path) ? 2 : 0
}

const directoriesOf = (paths) => {
  const found = new Set()
  for (const path of paths) {
    for (let above = dirname(path); OWN.test(above); above = dirname(above)) found.add(above)
  }
  return [...found]
}

/** Files and own directories of the tree, in order of their paths. */
function contentsOf(root, seconds) {
  const files = walk(root)
  const made = directoriesOf(files).map((path) => ({ path, mode: 0o40755, time: seconds, content: Buffer.alloc(0) }))
  const kept = files.map((path) => ({
    path,
    mode: path === 'usr/bin/xdp' ? 0o100755 : 0o100644,
    time: seconds,
    content: readFileSync(join(root, path)),
  }))
  return [...made, ...kept].sort((left, right) => (left.path < right.path ? -1 : 1))
}

const isDirectory = ({ mode }) => mode === 0o40755

function fileEntries(files) {
  const directories = [...new Set(files.map(({ path }) => `/${dirname(path)}/`))]
  const each = (value) => files.map(value)
  return [
    [1028, 'int32', each(({ content }) => content.length)],
    [1030, 'int16', each(({ mode }) => mode)],
    [1033, 'int16', each(() => 0)],
    [1034, 'int32', each(({ time }) => time)],
    [
      1035,
      'strings',
      each((file) => (isDirectory(file) ? '' : createHash('sha256').update(file.content).digest('hex'))),
    ],
    [1036, 'strings', each(() => '')],
    [1037, 'int32', each((file) => flagsOf(file.path, isDirectory(file)))],
    [1039, 'strings', each(() => 'root')],
    [1040, 'strings', each(() => 'root')],
    [1045, 'int32', each(() => 0xffff_ffff)],
    [1095, 'int32', each(() => 1)],
    [1096, 'int32', each((_, i) => i + 1)],
    [1097, 'strings', each(() => '')],
    [1116, 'int32', each(({ path }) => directories.indexOf(`/${dirname(path)}/`))],
    [1117, 'strings', each(({ path }) => basename(path))],
    [1118, 'strings', directories],
    [5011, 'int32', [8]],
  ]
}

const scriptEntries = () =>
  [
    ['post', 1024, 1086],
    ['preun', 1025, 1087],
    ['postun', 1026, 1088],
  ].flatMap(([name, script, interpreter]) => [
    [script, 'string', [readFileSync(at('packaging/rpm', name), 'utf8')]],
    [interpreter, 'string', ['/bin/sh']],
  ])

function relationEntries(requires, full, arch) {
  const provides = [
    [`config(${NAME})`, EQUAL, full],
    [NAME, EQUAL, full],
    [`${NAME}(${arch.replace('_', '-')})`, EQUAL, full],
  ]
  const column = (rows, i) => rows.map((row) => row[i])
  return [
    [1047, 'strings', column(provides, 0)],
    [1112, 'int32', column(provides, 1)],
    [1113, 'strings', column(provides, 2)],
    [1049, 'strings', column(requires, 0)],
    [1048, 'int32', column(requires, 1)],
    [1050, 'strings', column(requires, 2)],
  ]
}

/** Moves files to where Fedora and its family keep them. */
function rearrange(root) {
  const zsh = join(root, 'usr/share/zsh')
  mkdirSync(join(zsh, 'site-functions'))
  renameSync(join(zsh, 'vendor-completions/_xdp'), join(zsh, 'site-functions/_xdp'))
  rmSync(join(zsh, 'vendor-completions'), { recursive: true })
  const licenses = join(root, 'usr/share/licenses', NAME)
  mkdirSync(licenses, { recursive: true })
  copyFileSync(at('LICENSE'), join(licenses, 'LICENSE'))
  for (const name of ['BSD-2-Clause.txt', 'GPL-2.0-only.txt']) {
    copyFileSync(at('bpf/LICENSES', name), join(licenses, name))
  }
}

/** The archive compressed by xz, whose bytes depend on the number of threads; by gzip for tests. */
async function compressed(bytes, quick, work) {
  if (quick) return gzipSync(bytes, { level: 1 })
  writeFileSync(join(work, 'payload'), bytes)
  await run('xz', ['--threads=1', '-6', '--check=crc32', join(work, 'payload')])
  return readFileSync(join(work, 'payload.xz'))
}

/**
 * Builds the package from an executable, and returns its path.
 *
 * @param quick compresses little, for tests
 */
export async function makeRpm(arch, executable, directory, { quick = false, version = manifest.version } = {}) {
  const seconds = await sourceDate()
  const work = mkdtempSync(join(tmpdir(), 'xdp-rpm-'))
  const root = join(work, 'root')
  try {
    await writeTree(root, arch, executable)
    rearrange(root)
    settle(root, seconds)
    const files = contentsOf(root, seconds)
    const bytes = archive(files)
    const payload = await compressed(bytes, quick, work)
    const name = ARCHITECTURES[arch].rpm
    const full = `${version}-${RELEASE}`
    const entries = [
      [100, 'strings', ['C']],
      [1000, 'string', [NAME]],
      [1001, 'string', [version]],
      [1002, 'string', [RELEASE]],
      [1004, 'i18n', [SUMMARY]],
      [1005, 'i18n', [DESCRIPTION]],
      [1006, 'int32', [seconds]],
      [1007, 'string', ['localhost']],
      [1009, 'int32', [files.reduce((sum, { content }) => sum + content.length, 0)]],
      [1014, 'string', ['Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause) AND MIT']],
      [1016, 'i18n', ['Unspecified']],
      [1021, 'string', ['linux']],
      [1022, 'string', [name]],
      [1044, 'string', [`${NAME}-${full}.src.rpm`]],
      [1064, 'string', ['4.14.0']],
      [1124, 'string', ['cpio']],
      [1125, 'string', [quick ? 'gzip' : 'xz']],
      [1126, 'string', [quick ? '1' : '6']],
      [5062, 'string', ['utf-8']],
      [5092, 'strings', [createHash('sha256').update(payload).digest('hex')]],
      [5093, 'int32', [8]],
      ...fileEntries(files),
      ...scriptEntries(),
      ...relationEntries(quick ? REQUIRES : [...REQUIRES, XZ], full, name),
    ]
    const target = join(directory, `${NAME}-${version}.${name}.rpm`)
    writeFileSync(target, assemble(`${NAME}-${full}`, entries, payload, bytes.length))
    return target
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
