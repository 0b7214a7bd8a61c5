// Debian packages for tests, unpacked into a directory of ours. They are never installed, because that would change the
// machine that runs the tests, and start services on it.

import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

const CACHE = fileURLToPath(new URL('../../build/debian', import.meta.url))

const apt = (cwd: string, ...args: readonly string[]): string =>
  execFileSync('apt-get', ['-qq', ...args], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 60_000,
  })

/** Packages that an installation would add to the installed ones. */
function missing(cwd: string, packages: readonly string[]): string[] {
  const simulated = apt(cwd, 'install', '--simulate', '--no-install-recommends', ...packages)
  return [...simulated.matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name)
}

/** Creates the links of a merged /usr here too; a directory would hide the one of the host. */
function mergeUsr(root: string): void {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    if (!lstatSync(`/${name}`, { throwIfNoEntry: false })?.isSymbolicLink()) continue
    mkdirSync(join(root, 'usr', name), { recursive: true })
    symlinkSync(`usr/${name}`, join(root, name))
  }
}

function unpack(target: string, packages: readonly string[]): void {
  const work = `${target}.${process.pid}`
  const root = join(work, 'root')
  mkdirSync(root, { recursive: true })
  try {
    const names = missing(work, packages)
    if (names.length > 0) apt(work, 'download', ...names)
    mergeUsr(root)
    for (const archive of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
      const script = 'dpkg-deb --fsys-tarfile "$0" | tar --extract --keep-directory-symlink --directory root'
      execFileSync('sh', ['-c', script, archive], { cwd: work, stdio: 'ignore' })
    }
    // Otherwise every machine built from it would compile them again, at first use.
    if (names.some((name) => name.startsWith('python3-')) && existsSync('/usr/bin/python3'))
      execFileSync('/usr/bin/python3', ['-m', 'compileall', '-q', 'usr/lib/python3'], { cwd: root, stdio: 'ignore' })
    renameSync(root, target)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The directory with the missing packages and their dependencies, or why they are not available. */
export function unpacked(...packages: readonly string[]): { readonly root: string } | { readonly reason: string } {
  const target = join(CACHE, packages.join('+'))
  if (existsSync(target)) return { root: target }
  mkdirSync(CACHE, { recursive: true })
  for (const attempt of ['with the present lists of packages', 'with new ones']) {
    try {
      if (attempt === 'with new ones') apt(CACHE, 'update')
      unpack(target, packages)
      return { root: target }
    } catch {
      // Another process may have been faster.
      if (existsSync(target)) return { root: target }
    }
  }
  return { reason: `the Debian packages of ${packages.join(', ')} are not available` }
}

type Root = { readonly root: string } | { readonly reason: string }

/** A minimal root of a Debian release with systemd, the tools that xdp needs and more packages, or why it cannot be made. */
export const bareRoot = (release: string, ...more: readonly string[]): Promise<Root> =>
  makeRoot(['root', release, ...more].join('-'), release, ['bpftool', 'iproute2', ...more])

/** A minimal root of a Debian release with systemd alone, or why it cannot be made. */
export const emptyRoot = (release: string): Promise<Root> => makeRoot(`empty-${release}`, release, [])

async function makeRoot(name: string, release: string, packages: readonly string[]): Promise<Root> {
  const target = join(CACHE, name)
  if (existsSync(target)) return { root: target }
  const work = `${target}.${process.pid}`
  mkdirSync(CACHE, { recursive: true })
  try {
    const include = ['systemd', 'systemd-sysv', 'dbus', 'udev', ...packages].join(',')
    await execa('debootstrap', ['--variant=minbase', `--include=${include}`, release, work])
    renameSync(work, target)
    return { root: target }
  } catch (error) {
    return { reason: `debootstrap makes no root of ${release} here: ${(error as Error).message.split('\n')[0]}` }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
