// Reasons to refuse a plan. A guard only reads, and answers with errors; if it returns any, apply changes nothing.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired, InterfaceOptions } from '../model/desired.ts'
import { shapeOf } from '../model/link.ts'
import type { AttachedProgram, Link, Live, ProgramOwner } from '../model/live.ts'
import { nearest } from '../model/nearest.ts'
import { foreignPrograms, ownerText } from './attachments.ts'
import { ATTACH_TYPES, guardChain, guardUnchain, isDispatcher, isLost, withoutDispatcher } from './chain.ts'
import { guardServices } from './guard-services.ts'
import { guardSockets } from './sockets.ts'
import { guardSyn } from './syn.ts'

function loadTime({ loadedAt }: AttachedProgram): string {
  return loadedAt === 0 ? '' : `, loaded ${new Date(loadedAt * 1000).toISOString().replace('.000Z', 'Z')}`
}

/** A guess at the owner of a program, from its name. */
function origin(program: AttachedProgram): string {
  if (isDispatcher(program))
    return ' It is the dispatcher of libxdp: replacing it detaches every program of its chain; `xdp-loader status` lists them.'
  if (isLost(program))
    return ' Its name is that of our program: it is probably ours, from a different --instance, or its pins were lost (bpffs unmounted or emptied).'
  return ''
}

/** How to keep a program, or to take ours back, in front of the other ways. */
function remedy(name: string, program: AttachedProgram): string {
  if (isLost(program)) return 'if its pins were lost, replace it: `xdp apply --reclaim`; else '
  const chain = `write \`on_conflict: chain\` under interfaces.${name}`
  const keep = isDispatcher(program)
    ? `to keep one of its programs, ${withoutDispatcher(name)}, and ${chain}`
    : `to keep it behind ours, ${chain}`
  return `${keep}; to end it, \`on_conflict: replace\`, or `
}

function foreignProgram(
  name: string,
  program: AttachedProgram,
  owner: ProgramOwner | undefined,
  { at }: InterfaceOptions,
): Diagnostic {
  const identity = [`id ${program.id}`, program.name && `name ${program.name}`, program.tag && `tag ${program.tag}`]
  return {
    code: 'E200',
    severity: 'error',
    message:
      `interface ${name} already runs an XDP program that is not ours: ${identity.filter(Boolean).join(', ')}, ` +
      `${program.mode} mode${loadTime(program)}${owner ? ` ${ownerText(owner)}` : ''}.${origin(program)}`,
    hint: `${remedy(name, program)}detach it: \`bpftool net detach ${ATTACH_TYPES[program.mode]} dev ${name}\``,
    at,
  }
}

function missingInterface(name: string, live: Live, { at }: InterfaceOptions): Diagnostic {
  const existing = [...live.links.keys()].filter((link) => link !== 'lo').sort()
  const meant = nearest(name, existing)
  const known =
    existing.length === 0
      ? 'this host has no interface except lo'
      : `the interfaces are ${existing.slice(0, 8).join(', ')}`
  const hint = meant === undefined ? known + (existing.length > 8 ? ', …' : '') : `did you mean ${meant}?`
  return {
    code: 'E103',
    severity: 'error',
    message: `interface ${name} does not exist`,
    hint: `${hint} (with \`missing: skip\`, apply leaves it out until it exists)`,
    at,
  }
}

/** Refuses interfaces whose packets the program would misread, and balancing where packets have no Ethernet header. */
function guardShape(name: string, link: Link, { state }: Desired, { at }: InterfaceOptions): Diagnostic[] {
  const shape = shapeOf(link)
  if (shape === undefined) {
    const message = `the filter cannot read packets of ${name}: it knows Ethernet frames and plain IP packets, and ${name} is a ${describe(link)}`
    const hint =
      'filter on the interface below it, which receives the outer packets, or behind it, where they are routed to'
    return [{ code: 'E213', severity: 'error', message, hint, at }]
  }
  const balances = state.services.size > 0 && state.interfaces.get(name)?.roles.includes('balance')
  if (shape === 'ethernet' || !balances) return []
  const message = `services need Ethernet frames, and packets of ${name} have no Ethernet header (${describe(link)}): packets to a VIP that arrive there would not be balanced`
  const hint = `write \`roles: [filter]\` under ${name}: its packets are filtered and go to the stack`
  return [{ code: 'E214', severity: 'error', message, hint, at }]
}

const describe = ({ kind, linkType, isMultipoint }: Link): string =>
  `${kind} device${isMultipoint ? ' without a fixed remote end' : ''} with link layer ${linkType}`

/** Refuses a command outside the network namespace of the instance: there it cannot even see the interfaces. */
export function guardNamespace(live: Pick<Live, 'netns' | 'ownNetns'>): Diagnostic[] {
  if (live.netns === undefined || live.netns === live.ownNetns) return []
  return [
    {
      code: 'E201',
      severity: 'error',
      message: `this instance belongs to network namespace ${live.netns}, but the command runs in ${live.ownNetns}`,
      hint:
        'enter that namespace (`nsenter --net=/run/netns/NAME xdp …`), or use a separate `--instance NAME` here; ' +
        'if it has ended, `xdp destroy` removes the instance; a container cannot see that: remove xdp-as-code/INSTANCE from the bpffs',
    },
  ]
}

/** Every reason to refuse the plan; empty = go ahead. */
export function guard(desired: Desired, live: Live): Diagnostic[] {
  const wrongNamespace = guardNamespace(live)
  // From the wrong namespace no other guard makes sense: its links are not those of the file.
  if (wrongNamespace.length > 0) return wrongNamespace
  const interfaces = [...desired.options]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .flatMap(([name, options]) => {
      const link = live.links.get(name)
      if (link === undefined) return options.missing === 'error' ? [missingInterface(name, live, options)] : []
      if (options.onConflict === 'chain')
        return [...guardShape(name, link, desired, options), ...guardChain(name, link, desired, options)]
      const foreign = options.onConflict === 'replace' ? [] : foreignPrograms(link)
      const refused = foreign.filter((program) => !options.reclaims || !isLost(program))
      return [
        ...guardShape(name, link, desired, options),
        ...refused.map((program) => foreignProgram(name, program, live.owners.get(program.id), options)),
        ...(options.onConflict === 'fail' ? guardUnchain(name, live, options) : []),
      ]
    })
  return [...interfaces, ...guardServices(desired, live), ...guardSockets(desired, live), ...guardSyn(desired, live)]
}
