// The bpffs that holds the pins: whether it is mounted now and at the next boot, and in which mount namespace.

import { access, constants, readdir, readFile, stat } from 'node:fs/promises'
import type { Check } from '../../report/result.ts'
import { isBpffs, ownNetns } from '../host/host.ts'
import { bad, ok, warn } from './check.ts'

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Whether /etc/fstab mounts a bpffs at `path`. */
export function inFstab(fstab: string, path: string): boolean {
  return fstab.split('\n').some((line) => {
    const [, mountPoint, type] = line.trim().split(/\s+/)
    return !line.trim().startsWith('#') && mountPoint === path && type === 'bpf'
  })
}

/** The unit that mounts `path` (systemd.unit(5), "String escaping for inclusion in unit names"). */
export function mountUnit(path: string): string {
  const parts = path.split('/').filter((part) => part !== '')
  const code = (c: string): string => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`
  return `${parts
    .map((part) => part.replace(/[^A-Za-z0-9:_.]/g, code))
    .join('-')
    .replace(/^\./, code)}.mount`
}

const DEFAULT = '/sys/fs/bpf'

/** Pins do not survive a reboot, but the bpffs must be mounted before `xdp apply` runs at boot. */
async function checkBoot(path: string): Promise<Check> {
  const id = 'bpffs.boot'
  const [fstab, systemd] = await Promise.all([
    readFile('/etc/fstab', 'utf8').catch(() => ''),
    exists('/run/systemd/system'),
  ])
  if (systemd && path === DEFAULT) return ok(id, 'systemd mounts it at boot')
  const units = ['/etc/systemd/system', '/usr/lib/systemd/system'].map((place) => `${place}/${mountUnit(path)}`)
  if (systemd && (await Promise.all(units.map(exists))).includes(true))
    return ok(id, 'a systemd unit mounts it at boot')
  if (inFstab(fstab, path)) return ok(id, '/etc/fstab mounts it at boot')
  return warn(id, `nothing mounts ${path} at the next boot`, `echo 'bpf ${path} bpf mode=0700 0 0' >> /etc/fstab`)
}

/** Name under /run/netns of a network namespace. */
export async function netnsName(inode: bigint): Promise<string | undefined> {
  for (const name of await readdir('/run/netns').catch(() => [])) {
    const entry = await stat(`/run/netns/${name}`, { bigint: true }).catch(() => undefined)
    if (entry?.ino === inode) return name
  }
  return undefined
}

/** Id of the mount `/`, from /proc/PID/mountinfo (proc(5)): ids are unique across mount namespaces. */
export function rootMount(mountinfo: string): string | undefined {
  const fields = mountinfo.split('\n').map((line) => line.split(' '))
  return fields.findLast(([, , , , mountPoint]) => mountPoint === '/')?.[0]
}

/**
 * Whether this process has a different mount namespace than init; undefined if that cannot be read. Compares mountinfo,
 * because reading /proc/1/ns/mnt needs CAP_SYS_PTRACE.
 */
async function hasOwnMounts(): Promise<boolean | undefined> {
  const [own, init] = await Promise.all(
    ['self', '1'].map(async (pid) => rootMount(await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => ''))),
  )
  return own === undefined || init === undefined ? undefined : own !== init
}

/** For example in a systemd unit with ProtectKernelTunables=. */
const isReadOnly = (path: string): Promise<boolean> =>
  access(path, constants.W_OK).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'EROFS',
  )

async function checkMounted(path: string): Promise<Check> {
  const id = 'bpffs.mount'
  if (/\s/.test(path))
    return bad(
      id,
      `${path}: bpftool does not accept a path with white space`,
      'choose a different path with --bpffs DIR',
    )
  const own = await hasOwnMounts()
  if (await isBpffs(path)) {
    if (await isReadOnly(path)) return bad(id, `${path} is mounted read-only`, `mount -o remount,rw ${path}`)
    const note = own ? ', in a separate mount namespace: other processes may not see the pins' : ''
    return ok(id, `${path} is mounted${note}`)
  }
  const name = own ? await netnsName(await ownNetns()) : undefined
  if (own && name !== undefined) {
    const message = `${path} is not a mounted bpffs here: \`ip netns exec\` mounts a new /sys over it`
    return bad(id, message, `nsenter --net=/run/netns/${name} xdp doctor`)
  }
  const make = (await exists(path)) ? '' : `mkdir -p ${path} && `
  return bad(id, `${path} is not a mounted bpffs`, `${make}mount -t bpf bpf ${path}`)
}

export async function checkBpffs(path: string): Promise<Check[]> {
  return Promise.all([checkMounted(path), checkBoot(path)])
}
