// A kernel in files of this host, such as that of its distribution, in place of one of Debian's.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ScriptError } from '../lib/run.mjs'
import { files } from '../lib/stamp.mjs'
import { MODULE } from './fetch.mjs'

/**
 * The release in the header of a bzImage: the first word of the text at `kernel_version`
 * (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"). Undefined if this is no such image.
 */
function releaseOf(image) {
  if (image.length < 0x250 || image.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined
  const start = 0x200 + image.readUInt16LE(0x20e)
  return /^\d+\.\d+[\w.+~-]*/.exec(image.toString('latin1', start, start + 256))?.[0]
}

function read(path) {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new ScriptError(`the kernel cannot be read: ${error.message}`)
  }
}

/**
 * The kernel in a file, as `fetchKernel` describes one. `modules`: the directory with its modules; by default that of its
 * release in /lib/modules. A kernel without modules has to have virtio, veth and the tunnels built in.
 */
export function ownKernel(path, modules) {
  const release = releaseOf(read(path))
  if (release === undefined) throw new ScriptError(`${path} is no kernel for x86-64 (bzImage)`)
  const directory = modules ?? `/lib/modules/${release}`
  if (modules !== undefined && !existsSync(modules)) throw new ScriptError(`${modules} does not exist`)
  // Beside the modules is a link to the kernel's source.
  const own = join(directory, 'kernel')
  const found = files(existsSync(own) ? own : directory).filter((file) => MODULE.test(file))
  return { release, suite: undefined, image: path, modules: found }
}
