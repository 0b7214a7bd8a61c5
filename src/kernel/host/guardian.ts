// Starts the guardian, the process that reverts an apply at its deadline, outside of everything that ends with the session
// of the user: as a unit of systemd if that manages this host, else as a child in its own session. A lock shows whether
// it runs; the kernel frees it however the guardian dies.

import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, readlink, rmdir, writeFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fail } from '../../diagnostics.ts'
import { discard, instanceFile, RUN, runDirectory } from '../tools/exchange.ts'
import { spawnTool } from '../tools/spawn.ts'
import type { Host } from './host.ts'
import { acquireFile, isLocked, type Lock } from './lock.ts'

/** The word by which this program becomes a guardian. Neither help nor the manual speaks of it. */
export const GUARD = '__guard'

type Which = Pick<Host, 'bpffs' | 'instance'>

const lockFile = ({ bpffs, instance }: Which, id: string): Promise<string> =>
  instanceFile(bpffs, instance, `guardian-${id}.lock`)

/** Whether the guardian of this confirmation runs. */
export const guardianRuns = async (which: Which, id: string): Promise<boolean> => {
  const file = await lockFile(which, id)
  return existsSync(file) && isLocked(file)
}

/** Removes the lock file of a guardian that was killed. */
export async function forgetGuardian(which: Which, id: string): Promise<void> {
  if (!(await guardianRuns(which, id))) await discard(await lockFile(which, id))
}

/** Removes the lock files of all guardians that do not run: one that ends may leave its file to a process that looks at it. */
export async function forgetGuardians(which: Which): Promise<void> {
  const prefix = basename(await lockFile(which, '')).replace(/\.lock$/, '')
  const names = await readdir(RUN).catch(() => [])
  for (const name of names.filter((one) => one.startsWith(prefix) && one.endsWith('.lock'))) {
    await forgetGuardian(which, name.slice(prefix.length, -'.lock'.length))
  }
}

/** Becomes the guardian of this confirmation; undefined: there is one. Leaves the cgroup of the session. */
export async function becomeGuardian(which: Which, id: string): Promise<Lock | undefined> {
  await runDirectory()
  await leaveCgroup()
  const file = await lockFile(which, id)
  const lock = await acquireFile(file)
  return (
    lock && {
      ended: lock.ended,
      async release() {
        await discard(file)
        await lock.release()
        await returnToRoot()
      },
    }
  )
}

/** The unified hierarchy of cgroup v2, and the cgroup of guardians without a service manager. */
const CGROUPS = '/sys/fs/cgroup'
const OWN_CGROUP = `${CGROUPS}/xdp-guardian`
const UNIT = 'xdp-guardian-'

const ownCgroup = (): Promise<string> => readFile('/proc/self/cgroup', 'utf8').catch(() => '')

/**
 * Moves this process out of the cgroup of the session, which a session manager may kill as a whole. Only if this host
 * permits it: nothing but that depends on it.
 */
async function leaveCgroup(): Promise<void> {
  if ((await ownCgroup()).includes(UNIT) || !existsSync(`${CGROUPS}/cgroup.procs`)) return
  try {
    await mkdir(OWN_CGROUP, { recursive: true })
    await writeFile(`${OWN_CGROUP}/cgroup.procs`, `${process.pid}`)
  } catch {
    await rmdir(OWN_CGROUP).catch(() => undefined)
  }
}

async function returnToRoot(): Promise<void> {
  if (!existsSync(OWN_CGROUP)) return
  await writeFile(`${CGROUPS}/cgroup.procs`, `${process.pid}`).catch(() => undefined)
  await rmdir(OWN_CGROUP).catch(() => undefined)
}

/** sd_booted(3) */
const isManaged = (): boolean => existsSync('/run/systemd/system')

/** Whether a unit of the service manager would see the network and the files that this process sees. */
async function sharesNamespaces(): Promise<boolean> {
  const inodes = (pid: string): Promise<string[]> =>
    Promise.all(['net', 'mnt', 'pid'].map((kind) => readlink(`/proc/${pid}/ns/${kind}`)))
  try {
    return (await inodes('self')).join() === (await inodes('1')).join()
  } catch {
    return false
  }
}

/** Variables that say where tools are, how long they may run, and where the history is. */
const VARIABLES = ['XDP_TOOLS_PATH', 'XDP_TOOL_TIMEOUT', 'STATE_DIRECTORY'] as const

const environment = (): string[] =>
  VARIABLES.flatMap((name) => {
    const value = process.env[name] ?? ''
    return value === '' ? [] : [`${name}=${value}`]
  })

/** A unit that systemd starts, and forgets when it ends. The kernel's killer of processes spares it. */
const unitWords = (id: string, command: readonly string[]): string[] => [
  ...['--quiet', '--collect', `--unit=${UNIT}${id}`, '--service-type=exec', '--working-directory=/'],
  ...['--property=OOMScoreAdjust=-900', ...environment().map((one) => `--setenv=${one}`)],
  ...command,
]

/** The child of a child, whose streams lead nowhere, so that it does not depend on a terminal. */
const DETACHED = 'cd / && exec "$@" </dev/null >/dev/null 2>&1'
const sessionWords = (command: readonly string[]): string[] => [
  ...['--fork', 'sh', '-c', DETACHED, 'xdp-guardian'],
  ...['env', ...environment(), ...command],
]

/** Milliseconds that a guardian may take until it is ready. */
const START_MS = 20_000
const POLL_MS = 20

/** Waits; less if the signal arrives. */
export const pause = (milliseconds: number, signal?: AbortSignal): Promise<void> =>
  delay(milliseconds, undefined, signal && { signal }).catch(() => undefined)

/** Starts the guardian and waits until it is ready. Throws E125 if it does not start. */
export async function startGuardian(host: Host, id: string): Promise<void> {
  const { bpffs, instance, self } = host
  if (self === undefined) throw fail('E125', 'this process cannot start a guardian: its own command is unknown')
  const command = [...self, GUARD, id, '--bpffs', resolve(bpffs), '--instance', instance]
  const isUnit = isManaged() && (await sharesNamespaces())
  const [tool, words] = isUnit ? ['systemd-run', unitWords(id, command)] : ['setsid', sessionWords(command)]
  const { exitCode, stderr } = await spawnTool(tool, words)
  if (exitCode !== 0) throw notStarted(`${tool} failed: ${stderr.trim() || `exit status ${exitCode}`}`)
  const until = performance.now() + START_MS
  while (!(await guardianRuns(host, id))) {
    if (performance.now() > until) throw notStarted(`it was not ready after ${START_MS / 1000} s`)
    await delay(POLL_MS)
  }
}

const notStarted = (why: string) =>
  fail('E125', `the guardian that would revert the apply did not start: ${why}`, '`xdp apply` without --confirm')
