// The identity of this process: capabilities, and the namespaces and containers that restrict them.

import { access, readFile } from 'node:fs/promises'
import type { Check } from '../../report/result.ts'
import { mayLoad, maySteerXdp } from '../host/host.ts'
import { bad, ok, warn } from './check.ts'

export interface Identity {
  readonly uid: number
  /** Effective capabilities, as the bit set of the kernel. */
  readonly capabilities: bigint
  readonly userNamespace: boolean
  /** Kind of container, if it is recognised. */
  readonly container: string | undefined
}

/** linux/capability.h */
const CAP_SYS_ADMIN = 21n

/** From /proc/self/status: effective user and capabilities. */
export function parseStatus(status: string): { uid: number; capabilities: bigint } {
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1]
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]
  return { uid: Number(uid ?? -1), capabilities: BigInt(`0x${capabilities ?? '0'}`) }
}

/** From /proc/self/uid_map: the initial user namespace maps every id to itself, in one line. */
export function isUserNamespace(map: string): boolean {
  return map.trim() !== '' && map.trim().split(/\s+/).join(' ') !== '0 0 4294967295'
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Detects marks of container managers: files of podman and docker, and /run/host/container-manager of systemd. */
async function containerKind(): Promise<string | undefined> {
  if (await exists('/.dockerenv')) return 'docker'
  if (await exists('/run/.containerenv')) return 'podman'
  if (await exists('/var/run/secrets/kubernetes.io')) return 'kubernetes'
  const manager = await readFile('/run/host/container-manager', 'utf8').catch(() => '')
  return manager.trim() || undefined
}

export async function readIdentity(): Promise<Identity> {
  const [status, map, container] = await Promise.all([
    readFile('/proc/self/status', 'utf8').catch(() => ''),
    readFile('/proc/self/uid_map', 'utf8').catch(() => ''),
    containerKind(),
  ])
  return { ...parseStatus(status), userNamespace: isUserNamespace(map), container }
}

/** Whether the process may read and change XDP: only capabilities in the initial user namespace count. */
export const isPrivileged = ({ capabilities, userNamespace }: Identity): boolean =>
  maySteerXdp(capabilities) && !userNamespace

const CONTAINER_FLAGS = '--cap-add BPF --cap-add PERFMON --cap-add NET_ADMIN --network host -v /sys/fs/bpf:/sys/fs/bpf'

export function checkPermission(identity: Identity): Check {
  const id = 'permission'
  const { uid, capabilities, userNamespace, container } = identity
  const where = container === undefined ? '' : ` (this looks like a ${container} container)`
  if (userNamespace) {
    const message = `this is a user namespace, whose root may not use BPF${where}`
    return bad(id, message, 'run xdp on the host, or start the container without a user namespace')
  }
  if (!maySteerXdp(capabilities)) {
    const message = `no CAP_SYS_ADMIN, and not both CAP_BPF and CAP_NET_ADMIN: this process may not change XDP${where}`
    if (uid !== 0) return warn(id, `not root: ${message}`, 'sudo xdp doctor')
    return bad(
      id,
      message,
      container === undefined ? 'give the process CAP_BPF and CAP_NET_ADMIN' : `start it with ${CONTAINER_FLAGS}`,
    )
  }
  if (!mayLoad(capabilities)) {
    const message = 'no CAP_PERFMON: this process may read and ban, but not load the programs that apply needs'
    return warn(
      id,
      message,
      container === undefined ? 'give the process CAP_PERFMON' : `start it with ${CONTAINER_FLAGS}`,
    )
  }
  if (((capabilities >> CAP_SYS_ADMIN) & 1n) === 0n) {
    return ok(id, 'CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (reading foreign programs also needs CAP_SYS_ADMIN)')
  }
  return ok(id, 'may load and attach programs')
}
