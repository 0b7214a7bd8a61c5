// The user or unit behind this process, and the process itself.

import { readFileSync } from 'node:fs'
import { formatAddress } from '../../model/text.ts'
import type { Operator, Writer } from '../../report/history.ts'
import { pidNamespace } from '../tools/exchange.ts'
import { ownSession } from './processes.ts'

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Start of a process: the twentieth field after its name, which may contain anything (proc_pid_stat(5)). */
const startOf = (pid: number): number => Number(/^.*\) (?:\S+ ){19}(\d+)/s.exec(read(`/proc/${pid}/stat`))?.[1] ?? 0)

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

export const ownProcess = async (): Promise<Writer> => ({
  pid: process.pid,
  pid_namespace: pidNamespace(),
  started: startOf(process.pid),
})

/** Whether that process still runs. */
export const runs = async ({ pid, pid_namespace, started }: Writer): Promise<boolean> =>
  pid_namespace === pidNamespace() && startOf(pid) === started
