// The user or unit behind this process, and the boot of the machine.

import { readFileSync } from 'node:fs'
import { formatAddress } from '../../model/text.ts'
import type { Operator } from '../../report/history.ts'
import type { ProcessIdentity } from '../../report/last-apply.ts'
import { pidNamespace } from '../tools/exchange.ts'
import { ownSession } from './processes.ts'

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Id of the boot, which all processes of a machine share (random(4)). */
export const bootId = (): string => read('/proc/sys/kernel/random/boot_id').trim()

/** The unit in the text of /proc/PID/cgroup: the last component that names a service or scope. */
export const unitIn = (cgroup: string): string | undefined =>
  cgroup
    .trim()
    .split(/[\n/]/)
    .findLast((part) => /\.(?:service|scope)$/.test(part))

/** The user or unit. The variables of sshd are taken from the parents too, because sudo leaves them out. */
export function operator(): Operator {
  const { SUDO_USER, INVOCATION_ID, SSH_CLIENT } = process.env
  const [session] = ownSession().connections
  const peer = session && formatAddress(session.peer.address.family, session.peer.address.words)
  const unit = unitIn(read('/proc/self/cgroup'))
  return {
    uid: process.geteuid?.() ?? -1,
    ...(SUDO_USER ? { sudoUser: SUDO_USER } : {}),
    ...(peer || SSH_CLIENT ? { sshClient: peer ?? SSH_CLIENT?.split(' ')[0] } : {}),
    ...(unit ? { unit } : {}),
    ...(INVOCATION_ID ? { invocationId: INVOCATION_ID } : {}),
  }
}

export const ownProcess = async (): Promise<ProcessIdentity> => ({
  pid: process.pid,
  pid_namespace: await pidNamespace(),
})
