// Debian's kernel packages: finds, downloads (never installs) and unpacks the newest of a series into build/kernels/.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { attempt } from '../lib/run.mjs'
import { files } from '../lib/stamp.mjs'

/** A missing tool or package on this machine: a reason to skip, not to fail. */
export class Unavailable extends Error {}

const CACHE = at('build/kernels')

/** A kernel module, which may be compressed; the first group is its name. */
export const MODULE = /\/([\w-]+)\.ko(?:\.\w+)?$/

/** Fewer modules than every kernel has, more than an older version of this file unpacked. */
const SOME = 50

/** By version numbers, not by characters: 6.1.0-9 sorts before 6.1.0-10. */
const byVersion = new Intl.Collator('en', { numeric: true }).compare

/**
 * The cloud flavour has a third of the size of the ordinary one, and everything that a virtual machine needs; IPVS is in
 * the ordinary one only.
 */
const FLAVOURS = { cloud: '[.0-9a-z+~-]*-cloud-amd64', ordinary: '[.0-9+~deb-]*-amd64' }

const pattern = (series, flavour) => `linux-image-${series.replaceAll('.', '\\.')}[.+~-]${FLAVOURS[flavour]}$`

async function newestPackage(series, flavour) {
  const search = () => attempt('apt-cache', ['search', '--names-only', `^${pattern(series, flavour)}`])
  let { stdout } = await search()
  if (stdout.trim() === '') {
    // A machine image often comes without package lists.
    await attempt('apt-get', ['-qq', 'update'])
    stdout = (await search()).stdout
  }
  const names = stdout.split('\n').flatMap((line) => line.split(' ')[0] || [])
  return names.sort(byVersion).at(-1)
}

function cached(series, flavour) {
  if (!existsSync(CACHE)) return undefined
  const wanted = new RegExp(`^${pattern(series, flavour)}`)
  const releases = readdirSync(CACHE).filter((name) => wanted.test(`linux-image-${name}`))
  const release = releases.sort(byVersion).at(-1)
  const kernel = release && describe(release)
  return kernel && kernel.modules.length > SOME ? kernel : undefined
}

function describe(release) {
  const found = files(join(CACHE, release))
  const image = found.find((path) => path.includes('/vmlinuz-'))
  return image && { release, image, modules: found.filter((path) => MODULE.test(path)) }
}

/**
 * The newest kernel of a series such as 6.1: `{ release, image, modules }`, with the paths of all its modules, from the
 * cache if available. `flavour`: `cloud` or `ordinary`. Throws Unavailable.
 */
export async function fetchKernel(series, flavour = 'cloud') {
  const present = cached(series, flavour)
  if (present) return present
  const name = await newestPackage(series, flavour)
  if (!name) {
    throw new Unavailable(`this system's package archive has no ${series} ${flavour} kernel (Debian 12 has 6.1)`)
  }
  const release = name.replace('linux-image-', '')
  const work = join(CACHE, `download.${process.pid}`)
  mkdirSync(work, { recursive: true })
  try {
    const download = await attempt('apt-get', ['-qq', 'download', name], { cwd: work })
    if (download.status !== 0) throw new Unavailable(`downloading ${name} failed: ${download.output.trim()}`)
    const package_ = readdirSync(work).find((file) => file.endsWith('.deb'))
    const members = [`./boot/vmlinuz-${release}`, './lib/modules/*.ko*', './usr/lib/modules/*.ko*']
    // The modules are in one of the two directories, so that the other one matches nothing.
    const unpack =
      'dpkg-deb --fsys-tarfile "$0" | tar -x --wildcards "$@" 2>&1 | grep -v "Not found in archive" >&2; true'
    const { status, output } = await attempt('sh', ['-c', unpack, package_, ...members], { cwd: work })
    if (status !== 0) throw new Unavailable(`unpacking ${name} failed: ${output.trim()}`)
    rmSync(join(work, package_))
    rmSync(join(CACHE, release), { recursive: true, force: true })
    renameSync(work, join(CACHE, release))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return describe(release)
}
