// Debian's kernel packages: finds, downloads (never installs) and unpacks the newest of a series into build/kernels/.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { files } from '../lib/stamp.mjs'
import { Archive, Unavailable, unpack } from './archive.mjs'

const CACHE = at('build/kernels')

/** A kernel module, which may be compressed; the first group is its name. */
export const MODULE = /\/([\w-]+)\.ko(?:\.\w+)?$/

/** The series of the newest kernel in the archive, whatever it is. */
export const NEWEST = 'newest'

/** Suites of the archive, those that are likely to have a kernel first. */
const SUITES = ['bookworm', 'trixie', 'bullseye', 'bookworm-backports', 'trixie-backports', 'sid']
const USUAL = { '5.10': ['bullseye'], 6.12: ['trixie'], [NEWEST]: ['trixie-backports', 'sid'] }

const suitesOf = (series) => (series === NEWEST ? USUAL[NEWEST] : [...new Set([...(USUAL[series] ?? []), ...SUITES])])

/** By version numbers, not by characters: 6.1.0-9 sorts before 6.1.0-10. */
const byVersion = new Intl.Collator('en', { numeric: true }).compare

/**
 * The cloud flavour has a third of the size of the ordinary one, and everything that a virtual machine needs; IPVS is in
 * the ordinary one only.
 */
const FLAVOURS = { cloud: '[.0-9a-z+~-]*-cloud', ordinary: '[.0-9+~deb-]*' }

/** A release of a series, such as 6.1.0-57-cloud-amd64. */
function releases(series, { flavour, architecture }) {
  const start = series === NEWEST ? '[0-9]+\\.[0-9]+' : series.replaceAll('.', '\\.')
  return `${start}[.+~-]${FLAVOURS[flavour]}-${architecture}$`
}

/**
 * Packages with the image and the modules of a release. From Linux 7 on, linux-image-RELEASE is empty and depends on two
 * others.
 */
async function packagesOf(archive, release) {
  const split = [`linux-binary-${release}`, `linux-modules-${release}`]
  const plain = release.replaceAll(/[.+]/g, '\\$&')
  const found = await archive.names(`^linux-(binary|modules)-${plain}$`)
  return split.every((name) => found.includes(name)) ? split : [`linux-image-${release}`]
}

/** The newest release in the first suite that has one of the series; of the newest series, in all suites. */
async function search(series, wanted) {
  const found = []
  const troubles = []
  for (const suite of suitesOf(series)) {
    const archive = new Archive(suite, wanted.architecture)
    try {
      await archive.update()
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      troubles.push(error.message)
      continue
    }
    const names = await archive.names(`^linux-image-${releases(series, wanted)}`)
    found.push(...names.map((name) => ({ suite, archive, release: name.replace('linux-image-', '') })))
    if (found.length > 0 && series !== NEWEST) break
  }
  const newest = found.sort((a, b) => byVersion(a.release, b.release)).at(-1)
  if (newest) return newest
  const why = troubles.length > 0 ? ` (${troubles.join('; ')})` : ''
  throw new Unavailable(`Linux ${series} for ${wanted.architecture} is not in Debian's archive${why}`)
}

function describe(release) {
  const directory = join(CACHE, release)
  const found = files(directory)
  const image = found.find((path) => /\/vmlinuz/.test(path))
  if (!image || !existsSync(join(directory, 'suite'))) return undefined
  const suite = readFileSync(join(directory, 'suite'), 'utf8')
  return { release, suite, image, modules: found.filter((path) => MODULE.test(path)) }
}

function cached(series, wanted) {
  if (series === NEWEST || !existsSync(CACHE)) return undefined
  const pattern = new RegExp(`^${releases(series, wanted)}`)
  const release = readdirSync(CACHE)
    .filter((name) => pattern.test(name))
    .sort(byVersion)
    .at(-1)
  return release && describe(release)
}

/**
 * The newest kernel of a series such as 6.1, or of `newest`: `{ release, suite, image, modules }`, with the paths of all its
 * modules, from the cache if available. `flavour`: `cloud` or `ordinary`. Throws Unavailable.
 */
export async function fetchKernel(series, { flavour = 'cloud', architecture = 'amd64' } = {}) {
  const wanted = { flavour, architecture }
  const present = cached(series, wanted)
  if (present) return present
  const { suite, archive, release } = await search(series, wanted)
  const known = describe(release)
  if (known) return known
  const work = join(CACHE, `download.${process.pid}`)
  mkdirSync(work, { recursive: true })
  try {
    const members = [
      './boot/vmlinuz-*',
      './usr/lib/modules/*/vmlinuz',
      './lib/modules/*.ko*',
      './usr/lib/modules/*.ko*',
    ]
    for (const file of await archive.download(await packagesOf(archive, release), work)) {
      await unpack(file, work, members)
      rmSync(file)
    }
    writeFileSync(join(work, 'suite'), suite)
    rmSync(join(CACHE, release), { recursive: true, force: true })
    renameSync(work, join(CACHE, release))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  const kernel = describe(release)
  if (!kernel) throw new Unavailable(`the packages of Linux ${release} hold no kernel`)
  return kernel
}
