// xdp doctor: is this host fit for XDP, and would the config apply? Checks everything that can be checked, also without
// root and without a config. Returns findings instead of throwing errors, and changes nothing: it removes the programs
// that it loads as a trial before it returns.

import { release } from 'node:os'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import type { State } from '../../model/state.ts'
import { parseVersion } from '../../model/version.ts'
import type { Check } from '../../report/result.ts'
import { type Host, isBpffs } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { type Observation, observe } from '../observe/observe.ts'
import { checkBalancer } from './balancer.ts'
import { type Card, type CardProgram, chooseNames, type Details, readCards } from './cards.ts'
import { bad, ok, warn } from './check.ts'
import { checkCommand } from './command.ts'
import { type Device, readProcessors } from './device.ts'
import { checkInstances, otherInstances } from './instances.ts'
import { checkInterface } from './interface.ts'
import { checkKernel } from './kernel.ts'
import { checkBpffs } from './mount.ts'
import { checkPermission, isPrivileged, readIdentity } from './permission.ts'
import { checkLimitBans } from './rates.ts'
import { checkSyn } from './syn.ts'
import { checkTools, type Tools } from './tools.ts'
import { type Trial, tryLoading } from './trial.ts'

const wordsOf = (error: unknown): string => {
  if (error instanceof XdpError) return error.diagnostics.map(({ message }) => message).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** Why the live state cannot be read and programs cannot be loaded; undefined if both are possible. */
async function obstacle(host: Host, tools: Tools, privileged: boolean): Promise<string | undefined> {
  if (!privileged) return 'this needs root'
  if (!tools.bpftool) return 'this needs bpftool'
  if (/\s/.test(host.bpffs) || !(await isBpffs(host.bpffs))) return `this needs a bpffs on ${host.bpffs}`
  return tools.ip ? undefined : 'this needs ip'
}

/** Reads the live state. Returns the reason if that fails: on a broken host it is a finding, not an error. */
async function observeIfPossible(paths: Paths, why: string | undefined): Promise<Observation | string> {
  if (why !== undefined) return why
  try {
    return await observe(paths, {})
  } catch (error) {
    return wordsOf(error)
  }
}

type CardLinks = Map<string, Omit<Card, 'hardware' | keyof Details | keyof Device>>

/** Links with their programs, and the owner of each program if the live state could be read. */
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
  if (optional) return ok(id, 'does not exist; with `missing: skip`, apply leaves it out until it exists')
  const meant = nearest(name, [...links.keys()])
  const suggestion = meant === undefined ? '`ip -brief link` lists the existing ones' : `did you mean ${meant}?`
  return bad(
    id,
    'does not exist',
    `${suggestion} (with \`missing: skip\` under ${name}, apply leaves it out until it exists)`,
  )
}

async function checkInterfaces(
  host: Host,
  paths: Paths,
  desired: State,
  optional: ReadonlySet<string>,
  tools: Tools,
  live: Observation | string,
): Promise<Check[]> {
  if (!tools.ip) return [warn('interfaces', 'not checked, because ip is not installed')]
  try {
    const wanted = [...desired.interfaces.keys()].sort()
    const links = await readOwnedLinks(host, paths, live)
    const names = chooseNames(wanted, links)
    const cards = await readCards(links, names, tools.ethtool)
    const surroundings = {
      kernel: parseVersion(release()),
      cards,
      balances: desired.services.size > 0,
      answers: desired.policy?.syn_protection !== undefined,
      processors: await readProcessors(),
    }
    if (wanted.length === 0 && names.length === 0) return [ok('interfaces', 'no interface is up except lo')]
    return [
      ...wanted.filter((name) => !links.has(name)).map((name) => checkMissing(name, links, optional.has(name))),
      ...names.flatMap((name) => {
        const card = cards.get(name)
        const modes = desired.interfaces.get(name)?.modes
        return card ? checkInterface(card, modes, surroundings, new Set(wanted)) : []
      }),
    ]
  } catch (error) {
    return [bad('interfaces', `reading them failed: ${wordsOf(error)}`)]
  }
}

async function checkServices(desired: State, tools: Tools): Promise<Check[]> {
  if (!tools.ip) return []
  try {
    return await checkBalancer(desired)
  } catch (error) {
    return [warn('balancer', `checking the services failed: ${wordsOf(error)}`)]
  }
}

/**
 * All findings, in a fixed order: kernel, permission, bpffs, tools, our instances, interfaces, services. With an empty
 * `desired` it checks the interfaces that are up. `optional` names interfaces of the config that may be missing. Never
 * throws because the host lacks something.
 */
export async function examineHost(
  host: Host,
  paths: Paths,
  desired: State,
  optional: ReadonlySet<string> = new Set(),
): Promise<readonly Check[]> {
  host.progress?.('checking the host')
  const [identity, bpffs, tools] = await Promise.all([readIdentity(), checkBpffs(host.bpffs), checkTools()])
  const why = await obstacle(host, tools, isPrivileged(identity))
  host.progress?.('loading the programs as a trial')
  const trial: Trial = why === undefined ? await tryLoading(host.bpffs) : { outcome: 'skipped', why }
  host.progress?.('reading the live state')
  const live = await observeIfPossible(paths, why)
  return [
    ...(await checkKernel(trial)),
    checkPermission(identity),
    ...bpffs,
    ...tools.checks,
    ...checkCommand(host.self?.at(-1), process.env['PATH'] ?? ''),
    ...(await checkInstances(host, paths, live)),
    ...(await checkInterfaces(host, paths, desired, optional, tools, live)),
    ...(await checkServices(desired, tools)),
    ...(await checkSyn(desired)),
    ...(await checkLimitBans(host, desired)),
  ]
}
