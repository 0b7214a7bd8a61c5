// An image for containers (OCI) with a Debian root and the files of the package, made without a container engine, as an
// archive of an image layout. Equal roots give equal bytes.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { arch as hostArch, tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import manifest from '../../package.json' with { type: 'json' }
import { at } from '../lib/paths.mjs'
import { attempt, run, ScriptError } from '../lib/run.mjs'
import { ARCHITECTURES } from './node.mjs'
import { NAME, settle, sourceDate, writeTree } from './tree.mjs'

const RELEASE = 'trixie'
const PACKAGES = ['bpftool', 'iproute2', 'ethtool', 'libstdc++6']

/** Files of the root that differ from one build to the next, or belong to the machine that built it. */
const PASSING = [
  ...['etc/hostname', 'etc/resolv.conf', 'etc/machine-id', 'var/lib/dbus', 'var/log/*', 'var/cache/*'],
  ...['var/lib/apt/lists/*', 'dev/*', 'proc/*', 'sys/*', 'run/*', 'tmp/*', 'etc/*-', 'var/lib/dpkg/*-old'],
]

const INDEX = 'application/vnd.oci.image.index.v1+json'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'

const sha256 = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** The root that the image is based on, made at first use by debootstrap, which needs root. Throws ScriptError. */
async function baseRoot() {
  const target = at(`build/debian/image-${RELEASE}`)
  if (existsSync(target)) return target
  const work = `${target}.${process.pid}`
  mkdirSync(at('build/debian'), { recursive: true })
  try {
    const words = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, RELEASE, work]
    const { status, output } = await attempt('debootstrap', words)
    if (status !== 0) throw new ScriptError(`debootstrap makes no root of ${RELEASE}: ${output.trim().slice(-300)}`)
    renameSync(work, target)
    return target
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** A layer of a directory: the compressed archive, and the digest of what it unpacks to. */
async function layerOf(root, seconds, work, { quick, owner }) {
  const file = join(work, 'layer.tar')
  const same = ['--sort=name', `--mtime=@${seconds}`, '--numeric-owner', '--format=gnu']
  const owners = owner ? [`--owner=${owner}`, `--group=${owner}`] : []
  const without = PASSING.map((path) => `--exclude=./${path}`)
  await run('tar', ['-cf', file, ...same, ...owners, '--anchored', ...without, '--directory', root, '.'])
  const bytes = readFileSync(file)
  rmSync(file)
  return { packed: gzipSync(bytes, { level: quick ? 1 : 9 }), diff: sha256(bytes) }
}

const configOf = (arch, version, seconds, layers) => ({
  created: new Date(seconds * 1000).toISOString(),
  architecture: ARCHITECTURES[arch].deb,
  os: 'linux',
  config: {
    Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    Entrypoint: ['xdp'],
    Cmd: ['watch', '--file', '/etc/xdp/xdp.yaml'],
    Labels: {
      'org.opencontainers.image.title': NAME,
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': 'Apache-2.0',
    },
  },
  rootfs: { type: 'layers', diff_ids: layers.map(({ diff }) => diff) },
  history: [
    { created_by: `debootstrap ${RELEASE}`, comment: PACKAGES.join(' ') },
    { created_by: `${NAME} ${version}` },
  ],
})

/**
 * Makes the image of this host's architecture from an executable, and returns the path of its archive.
 *
 * @param quick compresses little, for tests
 */
export async function makeImage(arch, executable, directory, { quick = false, version = manifest.version } = {}) {
  if (arch !== hostArch()) throw new ScriptError(`an image for ${arch} is made on ${arch}: its root runs scripts`)
  const seconds = await sourceDate()
  const base = await baseRoot()
  const work = mkdtempSync(join(tmpdir(), 'xdp-oci-'))
  try {
    const own = join(work, 'own')
    await writeTree(own, arch, executable)
    settle(own, seconds)
    const layers = [
      await layerOf(base, seconds, work, { quick }),
      await layerOf(own, seconds, work, { quick, owner: '0' }),
    ]
    const layout = join(work, 'layout')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    const put = (mediaType, bytes) => {
      const digest = sha256(bytes)
      writeFileSync(join(layout, 'blobs', digest.replace(':', '/')), bytes)
      return { mediaType, digest, size: bytes.length }
    }
    const json = (value) => Buffer.from(JSON.stringify(value))
    const config = put(CONFIG, json(configOf(arch, version, seconds, layers)))
    const blobs = layers.map(({ packed }) => put(LAYER, packed))
    const image = put(MANIFEST, json({ schemaVersion: 2, mediaType: MANIFEST, config, layers: blobs }))
    // podman names the loaded image by it.
    const annotations = { 'org.opencontainers.image.ref.name': `${NAME}:${version}` }
    writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
    writeFileSync(
      join(layout, 'index.json'),
      json({ schemaVersion: 2, mediaType: INDEX, manifests: [{ ...image, annotations }] }),
    )
    settle(layout, seconds)
    const target = join(directory, `${NAME}-${version}-oci-${ARCHITECTURES[arch].deb}.tar`)
    const same = ['--sort=name', `--mtime=@${seconds}`, '--owner=0', '--group=0', '--numeric-owner', '--format=gnu']
    await run('tar', ['-cf', target, ...same, '--directory', layout, 'blobs', 'index.json', 'oci-layout'])
    return target
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
