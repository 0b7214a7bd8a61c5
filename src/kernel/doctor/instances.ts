// The content of the bpffs: our instance and other instances, leftovers of interrupted runs, and directories of other
// tools.

import { readdir, readFile, stat } from 'node:fs/promises'
import { generationOf, type Paths, pinPaths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import type { Check } from '../../report/result.ts'
import type { Host } from '../host/host.ts'
import { describeHolder, lockFile } from '../host/lock.ts'
import { readInstance } from '../observe/instance.ts'
import type { Observation } from '../observe/observe.ts'
import { bad, listed, ok, warn } from './check.ts'
import { netnsName } from './mount.ts'
import { TRIAL } from './trial.ts'

const list = (directory: string): Promise<string[]> => readdir(directory).catch(() => [])

/** Filter programs of the other instances in this bpffs: program id → instance. Leaves out unreadable ones. */
export async function otherInstances(host: Host, paths: Paths): Promise<Map<number, string>> {
  const owners = new Map<number, string>()
  for (const name of await list(paths.root)) {
    if (name === host.instance) continue
    try {
      const { generations } = await readInstance(pinPaths(host.bpffs, name))
      for (const { program } of generations) owners.set(program.id, name)
    } catch (error) {
      if (!(error instanceof XdpError)) throw error
    }
  }
  return owners
}

/** Whether /proc/locks, as text, has an flock of the file: `1: FLOCK  ADVISORY  WRITE 4711 00:1a:260047 0 EOF`. */
export function isLocked(locks: string, device: number, inode: number): boolean {
  const hex = (part: number): string => part.toString(16).padStart(2, '0')
  // Decodes st_dev like gnu_dev_major and gnu_dev_minor of glibc, for device numbers below 2^32.
  const major = (device >>> 8) & 0xfff
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00)
  const file = `${hex(major)}:${hex(minor)}:${inode}`
  return locks
    .split('\n')
    .some((line) => line.includes(' FLOCK ') && !line.includes('->') && line.split(/\s+/).includes(file))
}

async function checkLock({ bpffs, instance }: Host): Promise<Check[]> {
  try {
    const file = await lockFile(bpffs, instance)
    const [{ dev, ino }, locks] = await Promise.all([stat(file), readFile('/proc/locks', 'utf8')])
    if (!isLocked(locks, dev, ino)) return []
    return [
      warn(
        'instance.lock',
        `another process is changing this instance: ${await describeHolder(file)}`,
        'wait for it to finish',
      ),
    ]
  } catch {
    // No lock file yet, or no permission to read it.
    return []
  }
}

async function checkNamespace({ netns, ownNetns }: Observation, { instance }: Host): Promise<Check[]> {
  if (netns === undefined || netns === ownNetns) return []
  const name = await netnsName(netns)
  const message = `instance ${instance} belongs to another network namespace (${name ?? netns})`
  const enter = name === undefined ? 'run xdp in that namespace' : `nsenter --net=/run/netns/${name} xdp doctor`
  return [bad('instance.namespace', message, `${enter}, or use a separate --instance NAME here`)]
}

function checkState(live: Observation, { instance }: Host): Check[] {
  const { generation, state, drift, leftovers } = live
  const summary =
    generation === 0 ? 'nothing is applied' : `generation ${generation} on ${state.interfaces.size} interfaces`
  const drifted = [...drift].map(([key, what]) => `${key} ${what}`)
  const names = leftovers.map((path) => path.slice(path.lastIndexOf('/') + 1))
  const old = names.filter((name) => generationOf(name) !== undefined).length
  return [
    ok('instance.state', `instance ${instance}: ${summary}`),
    ...(drifted.length > 0 ? [warn('instance.drift', drifted.join('; '), 'xdp plan')] : []),
    ...(names.length > 0
      ? [
          warn(
            'instance.leftovers',
            `an interrupted apply left ${listed(names)}${old > 0 ? ', which hold kernel memory' : ''}`,
            'xdp apply',
          ),
        ]
      : []),
  ]
}

const alive = (pid: number): Promise<boolean> =>
  stat(`/proc/${pid}`).then(
    () => true,
    () => false,
  )

/** Reports trial programs of a killed doctor. */
async function checkTrials(bpffs: string): Promise<Check[]> {
  const stale: string[] = []
  for (const name of await list(bpffs)) {
    const pid = new RegExp(`^${TRIAL}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !(await alive(Number(pid)))) stale.push(`${bpffs}/${name}`)
  }
  if (stale.length === 0) return []
  return [warn('bpffs.trials', `an interrupted xdp doctor left ${listed(stale)}`, `rm -r ${stale.join(' ')}`)]
}

/** Directories of other tools at the root of a bpffs. */
const OTHERS: Readonly<Record<string, string>> = {
  xdp: 'libxdp (xdp-loader)',
  'xdp-filter': 'xdp-filter',
  tc: 'tc and ip',
  ip: 'ip',
  cilium: 'Cilium',
  calico: 'Calico',
  bpfman: 'bpfman',
}

async function checkNeighbours(host: Host, paths: Paths): Promise<Check[]> {
  const tools = (await list(host.bpffs)).flatMap((name) =>
    Object.hasOwn(OTHERS, name) ? [`${OTHERS[name]} in ${host.bpffs}/${name}`] : [],
  )
  const instances = (await list(paths.root)).filter((name) => name !== host.instance)
  return [
    ...(tools.length > 0 ? [ok('bpffs.others', `pins of other tools, which xdp leaves alone: ${listed(tools)}`)] : []),
    ...(instances.length > 0 ? [ok('bpffs.instances', `other instances of xdp: ${listed(instances)}`)] : []),
  ]
}

/** `live` is the observation, or why it failed. */
export async function checkInstances(host: Host, paths: Paths, live: Observation | string): Promise<Check[]> {
  const own =
    typeof live === 'string'
      ? [warn('instance.state', `the live state was not read: ${live}`)]
      : [...checkState(live, host), ...(await checkNamespace(live, host))]
  return [
    ...own,
    ...(await checkLock(host)),
    ...(await checkTrials(host.bpffs)),
    ...(await checkNeighbours(host, paths)),
  ]
}
