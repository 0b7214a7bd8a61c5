// Processes: which of them has a socket, and which session runs this command.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { parseAddress } from '../../model/text.ts'
import { addressOf, type Ends, unmapped } from './sockets.ts'

/** Processes of SSH servers: OpenSSH, since 9.8 with a program for each session, and Dropbear. */
const SSH_SERVERS: ReadonlySet<string> = new Set(['sshd', 'sshd-session', 'sshd-auth', 'dropbear'])

export const isSshServer = (process: string | undefined): boolean => process !== undefined && SSH_SERVERS.has(process)

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function targetOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** The name of a process (comm, at most 15 bytes), which its user chooses, without control characters. */
export const nameOf = (pid: string | number): string | undefined =>
  read(`/proc/${pid}/comm`)
    ?.trimEnd()
    .replace(/\p{Cc}/gu, '?')

/** Inodes of the sockets of a process. */
const socketsOf = (pid: string | number): number[] =>
  entriesOf(`/proc/${pid}/fd`).flatMap((descriptor) => {
    const inode = /^socket:\[(\d+)\]$/.exec(targetOf(`/proc/${pid}/fd/${descriptor}`))?.[1]
    return inode === undefined ? [] : [Number(inode)]
  })

/**
 * Names of the processes that have these sockets, by inode. A socket of a process in another pid namespace, or of the
 * kernel, has none. Of several processes, that with an SSH server's name counts, else the first one.
 */
export function processesOf(inodes: ReadonlySet<number>): ReadonlyMap<number, string> {
  const found = new Map<number, string>()
  if (inodes.size === 0) return found
  for (const pid of entriesOf('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    let name: string | undefined
    for (const inode of socketsOf(pid)) {
      if (!inodes.has(inode)) continue
      name ??= nameOf(pid)
      if (name !== undefined && (!found.has(inode) || isSshServer(name))) found.set(inode, name)
    }
  }
  return found
}

/** Inodes of the sockets of SSH servers. Looks at no descriptor of another process, so that it is fast. */
export function sshSockets(): ReadonlySet<number> {
  const pids = entriesOf('/proc').filter((pid) => /^\d+$/.test(pid) && isSshServer(nameOf(pid)))
  return new Set(pids.flatMap(socketsOf))
}

/** Parents of a process whose environments are read: a chain is short, and a broken one must end. */
const MOST_PARENTS = 64

/** The parent of a process: the second field after its name, which may contain anything (proc_pid_stat(5)). */
const parentOf = (pid: number): number => Number(/^.*\) \S (\d+)/s.exec(read(`/proc/${pid}/stat`) ?? '')?.[1] ?? 0)

/** The value of SSH_CONNECTION in the text of /proc/PID/environ. */
const connectionIn = (environment: string | undefined): string | undefined =>
  environment
    ?.split('\0')
    .find((line) => line.startsWith('SSH_CONNECTION='))
    ?.slice('SSH_CONNECTION='.length)

/** Parses `client port server port`. */
export function endsOf(connection: string | undefined): Ends[] {
  const [client = '', clientPort, server = '', serverPort] = connection?.split(' ') ?? []
  const [peer, local] = [parseAddress(client), parseAddress(server)]
  if (!peer || !local || !Number(clientPort) || !Number(serverPort)) return []
  return [
    {
      peer: { address: addressOf(unmapped(peer.words)), port: Number(clientPort) },
      local: { address: addressOf(unmapped(local.words)), port: Number(serverPort) },
    },
  ]
}

/** The session that runs this command. */
export interface Session {
  /** Its SSH connections. Of mosh, the one that started it. */
  readonly connections: readonly Ends[]
  /** Inodes of the sockets of its mosh-server, which are not connected. */
  readonly roaming: ReadonlySet<number>
}

/** The session by the environment of this process, and by those of its ancestors, because sudo leaves the variable out. */
export function ownSession(): Session {
  const connections = new Set<string>()
  const add = (connection: string | undefined): void => {
    if (connection !== undefined) connections.add(connection)
  }
  add(process.env['SSH_CONNECTION'])
  const roaming = new Set<number>()
  let pid = process.ppid
  for (let parents = 0; pid > 1 && parents < MOST_PARENTS; parents++, pid = parentOf(pid)) {
    add(connectionIn(read(`/proc/${pid}/environ`)))
    if (nameOf(pid) === 'mosh-server') for (const inode of socketsOf(pid)) roaming.add(inode)
  }
  return { connections: [...connections].flatMap(endsOf), roaming }
}
