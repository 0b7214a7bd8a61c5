// The executable, the Debian package and the RPM of an architecture, as `npm run package` builds them.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, 'build/test/packages')
const DIST = join(ROOT, 'dist')
const FOLDERS = ['scripts/package', 'packaging', 'examples', 'docs'] as const
const FILES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'xdp.yaml.example'] as const

export interface Built {
  readonly executable: string
  readonly deb: string
  readonly rpm: string
  /** The image for containers; empty unless it was asked for. */
  readonly image: string
}

const IMAGE = /-oci-\w+\.tar$/

/** Changes with every file of the packages, and with their time, which is that of the commit. */
async function fingerprint(dist: string): Promise<string> {
  const hash = createHash('sha256')
  const { stdout: time } = await execa('git', ['log', '-1', '--format=%ct'], { cwd: ROOT })
  hash.update(process.env['SOURCE_DATE_EPOCH'] ?? time)
  for (const name of FILES) hash.update(name).update(readFileSync(join(ROOT, name)))
  for (const name of [dist, ...FOLDERS.map((input) => join(ROOT, input))]) {
    for (const path of (readdirSync(name, { recursive: true }) as string[]).sort()) {
      try {
        hash.update(path).update(readFileSync(join(name, path)))
      } catch {
        // A directory.
      }
    }
  }
  return hash.digest('hex').slice(0, 16)
}

/** Removes builds of earlier days: each takes 270 MB, and every commit has others. */
function removeOld(): void {
  for (const name of existsSync(CACHE) ? readdirSync(CACHE) : []) {
    const path = join(CACHE, name)
    const built = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (Date.now() - built > 24 * 3_600_000) rmSync(path, { recursive: true, force: true })
  }
}

/**
 * Builds them from a bundle, unless an earlier test has. Returns why that is not possible here instead: the Node comes from
 * the registry.
 */
export async function built({
  dist = DIST,
  version = '0.1.0',
  fresh = false,
  image = false,
  arch = process.arch as string,
} = {}): Promise<Built | string> {
  const out = join(CACHE, `${version}-${arch}-${await fingerprint(dist)}${fresh ? '-again' : ''}`)
  if (fresh) rmSync(out, { recursive: true, force: true })
  const flags = image ? ['--quick', '--image'] : ['--quick']
  const words = ['scripts/package.mjs', ...flags, '--dist', dist, '--version', version, '--out', out, arch]
  const find = (matches: RegExp): string => {
    const name = existsSync(out) ? readdirSync(out).find((entry) => matches.test(entry)) : undefined
    return name === undefined ? '' : join(out, name)
  }
  if (find(image ? IMAGE : /\.rpm$/) === '') {
    removeOld()
    const { exitCode, stderr } = await execa(process.execPath, words, { cwd: ROOT, reject: false })
    if (/^error: (?:\S+ )?npm .* pack/m.test(stderr)) return `no Node from the registry: ${stderr.slice(0, 300)}`
    if (/^error: (?:debootstrap |building for \w+ runs its Node in qemu)/m.test(stderr))
      return stderr.trim().slice(0, 300)
    if (exitCode !== 0) throw new Error(stderr)
  }
  return { executable: find(/^xdp-.*linux/), deb: find(/\.deb$/), rpm: find(/\.rpm$/), image: find(IMAGE) }
}
