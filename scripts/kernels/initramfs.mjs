// An in-memory root file system for the guest: busybox, bpftool, ip and ping with their libraries, and given files.
import { execFileSync } from 'node:child_process'
import { readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { attempt, ScriptError, which } from '../lib/run.mjs'
import { MODULE } from './fetch.mjs'

const FILE = 0o100000
const DIRECTORY = 0o040000

/**
 * Writes an archive in the "newc" format of cpio, which the kernel unpacks (Documentation/driver-api/early-userspace/
 * buffer-format.rst). `entries`: path without leading slash → `{ data, mode }`; parent directories are added.
 */
export function writeArchive(target, entries) {
  const all = new Map()
  for (const path of entries.keys()) {
    for (const { index } of path.matchAll(/\//g)) all.set(path.slice(0, index), { mode: DIRECTORY | 0o755 })
  }
  for (const [path, { data, mode }] of entries) all.set(path, { data, mode: FILE | mode })
  const chunks = []
  let inode = 0
  const add = (path, { data = Buffer.alloc(0), mode = 0 }) => {
    const name = Buffer.from(`${path}\0`)
    const fields = [++inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0]
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
    const pad = (length) => Buffer.alloc(-length & 3)
    chunks.push(header, name, pad(header.length + name.length), data, pad(data.length))
  }
  for (const [path, entry] of all) add(path, entry)
  add('TRAILER!!!', {})
  writeFileSync(target, Buffer.concat(chunks))
}

/** The shared libraries of a program of the host, at their paths. */
export async function libraries(path) {
  const { stdout } = await attempt('ldd', [path])
  const found = [...stdout.matchAll(/(?:=> |^\s*)(\/\S+)/gm)].map(([, library]) => library)
  return found.map((from) => [from.slice(1), { data: readFileSync(from), mode: 0o755 }])
}

/** A program of the host with its shared libraries, at the paths of the host. */
export async function program(name) {
  const path = which(name)
  if (!path) throw new ScriptError(`${name} is missing`)
  const entry = { data: readFileSync(realpathSync(path)), mode: 0o755 }
  // Debian's /bin and /lib are links into /usr; programs refer to the loader by the path written in them.
  return [[path.slice(1), entry], ...(await libraries(path)), [`bin/${name}`, entry]]
}

/** The content of a kernel module, decompressed. */
function contentOf(path) {
  const tool = { '.xz': 'xz', '.zst': 'zstd', '.gz': 'gzip' }[/\.(?:xz|zst|gz)$/.exec(path)?.[0]]
  if (!tool) return readFileSync(path)
  try {
    return execFileSync(tool, ['-dc', path], { maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    throw new ScriptError(`${tool}: ${error.stderr?.toString().trim() || error.message}`)
  }
}

/** Modules that a module needs, as modpost lists them in it. */
const needsOf = (content) =>
  /\0depends=([^\0]*)\0/.exec(content.toString('latin1'))?.[1].split(',').filter(Boolean) ?? []

/** Names of modules in files have hyphens or underscores, in lists of dependencies only underscores. */
const plain = (name) => name.replaceAll('-', '_')

/**
 * The named modules of a kernel with all that they need, as entries whose names sort in the order in which to load them.
 * One that the kernel lacks is built in, or missing.
 */
export function modules(paths, wanted) {
  const byName = new Map(paths.map((path) => [plain(MODULE.exec(path)[1]), path]))
  const order = new Map()
  const visit = (name) => {
    const path = byName.get(plain(name))
    if (path === undefined || order.has(path)) return
    const content = contentOf(path)
    for (const need of needsOf(content)) visit(need)
    order.set(path, content)
  }
  for (const name of wanted) visit(name)
  return [...order].map(([path, data], i) => [
    `modules/${String(i).padStart(3, '0')}-${MODULE.exec(path)[1]}.ko`,
    { data, mode: 0o644 },
  ])
}
