// Programs of another architecture for its guests: Debian's packages of them, unpacked under build/kernels.
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { Archive, unpack } from './archive.mjs'

const SUITE = 'bookworm'

/** The packages with the programs of the guests, and those with the libraries of these and of the executable. */
const PACKAGES = [
  ...['busybox-static', 'bpftool', 'iproute2', 'iputils-ping', 'ethtool', 'util-linux'],
  ...['libc6', 'libgcc-s1', 'libstdc++6', 'libelf1', 'zlib1g', 'libbpf1', 'libmnl0', 'libbsd0', 'libmd0', 'libcap2'],
  ...['libidn2-0', 'libunistring2'],
]

const PROGRAMS = ['busybox', 'bpftool', 'ip', 'ping', 'ethtool', 'flock']
const PATHS = ['bin', 'sbin', 'usr/bin', 'usr/sbin']

/** The directory with the unpacked packages, downloaded at first use. Throws Unavailable. */
async function unpacked(architecture) {
  const target = at('build/kernels', `root-${architecture}`)
  if (existsSync(target)) return target
  const archive = new Archive(SUITE, architecture)
  await archive.update()
  const work = `${target}.${process.pid}`
  mkdirSync(work, { recursive: true })
  try {
    for (const file of await archive.download(PACKAGES, work)) {
      await unpack(file, work, ['./bin/*', './sbin/*', './lib/*', './usr/bin/*', './usr/sbin/*', './usr/lib/*'])
      rmSync(file)
    }
    renameSync(work, target)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return target
}

/** Libraries in a directory, as entries of an archive; links become files. */
function librariesIn(root, directory) {
  if (!existsSync(join(root, directory))) return []
  const names = readdirSync(join(root, directory)).filter((name) => /\.so(?:\.|$)/.test(name))
  return names.flatMap((name) => {
    const path = join(root, directory, name)
    // The absolute link of the loader would leave the directory.
    if (!existsSync(path)) return []
    return [[join(directory, name), { data: readFileSync(path), mode: 0o755 }]]
  })
}

/** The programs and libraries of an architecture in the words of Debian, as entries of an archive. Throws Unavailable. */
export async function foreignPrograms(architecture, triplet) {
  const root = await unpacked(architecture)
  const programs = PROGRAMS.flatMap((name) => {
    const path = PATHS.map((directory) => join(root, directory, name)).find((one) => existsSync(one))
    const isFile = path !== undefined && lstatSync(path).isFile()
    return isFile ? [[`bin/${name}`, { data: readFileSync(path), mode: 0o755 }]] : []
  })
  const directories = ['lib', `lib/${triplet}`, `usr/lib/${triplet}`]
  return [...programs, ...directories.flatMap((directory) => librariesIn(root, directory))]
}
