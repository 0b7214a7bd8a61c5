// Whether a network namespace still exists. The kernel has no list of them, but each has a holder: a process, an open
// descriptor, or a mount.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { codeOf } from '../../cache/directory.ts'

/** The initial pid namespace (PROC_PID_INIT_INO in include/linux/proc_ns.h): only its /proc shows every process. */
const INITIAL = 'pid:[4026531836]'

/** undefined: it has ended meanwhile. `hidden`: this process may not look, for example without CAP_SYS_PTRACE. */
function targetOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (error) {
    return codeOf(error) === 'EACCES' || codeOf(error) === 'EPERM' ? 'hidden' : undefined
  }
}

/** A process that may not be looked at could be a holder. Init is none: instances of its namespace belong to no other. */
const isHolder = (pid: string, target: string | undefined, namespace: string): boolean =>
  target === namespace || (target === 'hidden' && pid !== '1')

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** Whether /proc/PID/mountinfo has a namespace as a mount: `… net:[4026532673] /run/netns/edge rw … - nsfs nsfs rw`. */
function isMounted(pid: string, namespace: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(` ${namespace} `)
  } catch {
    return false
  }
}

function isHeldBy(pid: string, namespace: string, seen: Set<string>): boolean {
  const tasks = entriesOf(`/proc/${pid}/task`)
  if (tasks.some((task) => isHolder(pid, targetOf(`/proc/${pid}/task/${task}/ns/net`), namespace))) return true
  if (entriesOf(`/proc/${pid}/fd`).some((fd) => targetOf(`/proc/${pid}/fd/${fd}`) === namespace)) return true
  // Processes of one mount namespace have the same mounts.
  const mounts = targetOf(`/proc/${pid}/ns/mnt`) ?? pid
  if (seen.has(mounts)) return false
  seen.add(mounts)
  return isMounted(pid, namespace)
}

/**
 * Whether nothing holds a network namespace any more. Only root in the initial pid namespace can know that; elsewhere a
 * namespace never counts as ended. One that only sockets hold, of processes that have left it, looks like an ended one.
 */
export function hasEnded(inode: bigint): boolean {
  if (process.geteuid?.() !== 0 || targetOf('/proc/self/ns/pid') !== INITIAL) return false
  const pids = entriesOf('/proc').filter((name) => /^\d+$/.test(name))
  // hidepid= hides even the names of others.
  if (!pids.includes('1')) return false
  const seen = new Set<string>()
  return !pids.some((pid) => isHeldBy(pid, `net:[${inode}]`, seen))
}
