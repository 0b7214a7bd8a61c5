// xdp doctor: is this host fit for XDP, and what would stand in the way of the config? Looks at everything that can be
// looked at without root and without a config too, answers with findings instead of errors, and changes nothing: the
// one thing it makes, a trial load of our programs, is removed before it returns.

import { release } from 'node:os'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import type { State } from '../../model/state.ts'
import type { Check } from '../../report/result.ts'
import { type Host, isBpffs } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { type Observation, observe } from '../observe/observe.ts'
import { parseVersion } from '../tools/version.ts'
import { checkBalancer } from './balancer.ts'
import { type Card, type CardProgram, chooseNames, readCards } from './cards.ts'
import { bad, ok, warn } from './check.ts'
import { checkInstances, otherInstances } from './instances.ts'
import { checkInterface } from './interface.ts'
import { checkKernel } from './kernel.ts'
import { checkBpffs } from './mount.ts'
import { checkPermission, isPrivileged, readIdentity } from './permission.ts'
import { checkTools, type Tools } from './tools.ts'
import { type Trial, tryLoading } from './trial.ts'

const wordsOf = (error: unknown): string => {
  if (error instanceof XdpError) return error.diagnostics.map(({ message }) => message).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** Why neither the live state can be read nor a program loaded; undefined = both can. */
async function obstacle(host: Host, tools: Tools, privileged: boolean): Promise<string | undefined> {
  if (!privileged) return 'it needs root'
  if (!tools.bpftool) return 'it needs bpftool'
  if (/\s/.test(host.bpffs) || !(await isBpffs(host.bpffs))) return `it needs a bpffs on ${host.bpffs}`
  return tools.ip ? undefined : 'it needs ip'
}

/** Doctor is for hosts on which something is wrong: whatever keeps the live state from being read is a finding. */
async function observeIfPossible(paths: Paths, why: string | undefined): Promise<Observation | string> {
  if (why !== undefined) return why
  try {
    return await observe(paths, {})
  } catch (error) {
    return wordsOf(error)
  }
}

type CardLinks = Map<string, Omit<Card, 'hardware' | 'carrier' | 'lower' | 'variant' | 'rxQueues' | 'txQueues'>>

/** Links with their programs, and whose each is: known only where the live state could be read. */
async function readOwnedLinks(host: Host, paths: Paths, live: Observation | string): Promise<CardLinks> {
  const links = await readLinks()
  const others = typeof live === 'string' ? new Map<number, string>() : await otherInstances(host, paths)
  const ours = new Set(typeof live === 'string' ? [] : live.instance.generations.map(({ program }) => program.id))
  const owned = (program: { id: number; mode: CardProgram['mode']; name: string }): CardProgram => {
    const owner = typeof live === 'string' ? 'unknown' : ours.has(program.id) ? 'ours' : 'foreign'
    return { id: program.id, mode: program.mode, name: program.name, owner, instance: others.get(program.id) }
  }
  return new Map([...links].map(([name, link]) => [name, { ...link, programs: link.programs.map(owned) }]))
}

function checkMissing(name: string, links: ReadonlyMap<string, unknown>, optional: boolean): Check {
  const id = `interface.${name}.link`
  if (optional) return ok(id, 'does not exist, and `missing: skip` leaves it out until it does')
  const meant = nearest(name, [...links.keys()])
  const suggestion = meant === undefined ? 'ip -brief link shows those that do' : `did you mean ${meant}?`
  return bad(id, 'does not exist', `${suggestion} (\`missing: skip\` under ${name} leaves it out until it exists)`)
}

async function checkInterfaces(
  host: Host,
  paths: Paths,
  desired: State,
  optional: ReadonlySet<string>,
  tools: Tools,
  live: Observation | string,
): Promise<Check[]> {
  if (!tools.ip) return [warn('interfaces', 'not looked at, for want of ip')]
  try {
    const wanted = [...desired.interfaces.keys()].sort()
    const links = await readOwnedLinks(host, paths, live)
    const names = chooseNames(wanted, links)
    const cards = await readCards(links, names, tools.ethtool)
    const surroundings = { kernel: parseVersion(release()), cards }
    if (wanted.length === 0 && names.length === 0) return [ok('interfaces', 'none is up but lo')]
    return [
      ...wanted.filter((name) => !links.has(name)).map((name) => checkMissing(name, links, optional.has(name))),
      ...names.flatMap((name) => {
        const card = cards.get(name)
        const modes = desired.interfaces.get(name)?.modes
        return card ? checkInterface(card, modes, surroundings, new Set(wanted)) : []
      }),
    ]
  } catch (error) {
    return [bad('interfaces', `cannot be read: ${wordsOf(error)}`)]
  }
}

async function checkServices(desired: State, tools: Tools): Promise<Check[]> {
  if (!tools.ip) return []
  try {
    return await checkBalancer(desired)
  } catch (error) {
    return [warn('balancer', `could not be looked at: ${wordsOf(error)}`)]
  }
}

/**
 * Every finding, in a fixed order: kernel, permission, bpffs, tools, our instances, interfaces, services. Without a config
 * (`desired` empty) the interfaces that are up are looked at. `optional`: those of the config that may be missing. Never throws for what a host lacks.
 */
export async function examineHost(
  host: Host,
  paths: Paths,
  desired: State,
  optional: ReadonlySet<string> = new Set(),
): Promise<readonly Check[]> {
  host.progress?.('looking at the host')
  const [identity, bpffs, tools] = await Promise.all([readIdentity(), checkBpffs(host.bpffs), checkTools()])
  const why = await obstacle(host, tools, isPrivileged(identity))
  host.progress?.('loading the program on trial')
  const trial: Trial = why === undefined ? await tryLoading(host.bpffs) : { outcome: 'skipped', why }
  host.progress?.('reading the live state')
  const live = await observeIfPossible(paths, why)
  return [
    ...(await checkKernel(trial)),
    checkPermission(identity),
    ...bpffs,
    ...tools.checks,
    ...(await checkInstances(host, paths, live)),
    ...(await checkInterfaces(host, paths, desired, optional, tools, live)),
    ...(await checkServices(desired, tools)),
  ]
}
