// The packed tarball, as users install it.

import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { execa } from 'execa'
import type { bareRoot } from './debian.ts'
import { built } from './executable.ts'
import type { Lab } from './hosts.ts'
import { Machine } from './machine.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** The npm that runs the tests, or the one in the PATH. Its settings for this run must not reach the inner one. */
export function npm(args: readonly string[], cwd: string) {
  const [file, ...first] = process.env['npm_execpath'] ? [process.execPath, process.env['npm_execpath']] : ['npm']
  return execa(file ?? 'npm', [...first, ...args], {
    cwd,
    env: { npm_config_offline: 'true', npm_config_audit: 'false' },
  })
}

const CONTENTS = ['dist', 'schemas', 'examples', 'docs', 'bpf', 'package.json', 'README.md', 'CHANGELOG.md']

/** Changes with every file that may be packed. */
function fingerprint(): string {
  const hash = createHash('sha256')
  for (const name of CONTENTS) {
    const path = join(ROOT, name)
    const inner = statSync(path).isDirectory() ? (readdirSync(path, { recursive: true }) as string[]) : ['']
    for (const one of inner) {
      const { size, mtimeMs } = statSync(join(path, one))
      hash.update(`${join(name, one)} ${size} ${mtimeMs}\n`)
    }
  }
  return hash.digest('hex').slice(0, 16)
}

/** A machine with the tarball in root's home, under its real name; or why there is none. */
export async function packagedMachine(lab: Lab, packages: readonly string[]): Promise<Machine | string> {
  const machine = await Machine.make({ packages, lab, boots: true })
  if (typeof machine === 'string') return machine
  const { tarball } = await pack(lab.directory)
  machine.copy(tarball, `/srv/admin/${basename(tarball)}`)
  return machine
}

interface Packed {
  readonly tarball: string
  /** The paths in the tarball. */
  readonly paths: readonly string[]
}

/** Packs the build into a directory. Several tests need the tarball, so it is made once. */
export async function pack(directory: string): Promise<Packed> {
  const cache = join(ROOT, 'build/test/package', fingerprint())
  if (!existsSync(join(cache, 'packed.json'))) {
    rmSync(join(ROOT, 'build/test/package'), { recursive: true, force: true })
    mkdirSync(cache, { recursive: true })
    const { stdout } = await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', cache], ROOT)
    writeFileSync(join(cache, 'packed.json'), stdout)
  }
  const packed = JSON.parse(readFileSync(join(cache, 'packed.json'), 'utf8')) as [
    { files: { path: string }[]; filename: string },
  ]
  const [{ files: entries, filename }] = packed
  copyFileSync(join(cache, filename), join(directory, filename))
  return { tarball: join(directory, filename), paths: entries.map(({ path }) => path) }
}

/** A machine of a Debian root, with the present package as the file `path`; a text: why there is none. */
export async function machineWithDeb(
  path: string,
  found: Awaited<ReturnType<typeof bareRoot>>,
  { lab, boots }: { readonly lab: Lab; readonly boots: boolean },
): Promise<Machine | string> {
  const packages = await built()
  if ('reason' in found) return found.reason
  if (typeof packages === 'string') return packages
  const machine = await Machine.make({ packages: [], lab, boots, base: found.root })
  if (typeof machine !== 'string') machine.copy(packages.deb, path)
  return machine
}
