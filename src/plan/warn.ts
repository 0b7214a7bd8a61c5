// Warnings to read before approving a plan, although it has no error.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { Link, Live } from '../model/live.ts'
import { coversInterface } from '../model/scope.ts'
import type { Attachment, ScopedSet, State } from '../model/state.ts'
import { ownAttachments } from './attachments.ts'
import type { Change } from './change.ts'
import { warnSockets } from './sockets.ts'
import { warnSyn } from './syn.ts'
import { warnTagged } from './tags.ts'
import { warnDriver } from './warn-driver.ts'
import { warnHealth } from './warn-health.ts'
import { warnOwn } from './warn-own.ts'
import { warnServices } from './warn-services.ts'
import { warnStacked } from './warn-stacked.ts'

type Code = Diagnostic['code']

const warning = (code: Code, message: string, hint: string, at?: Diagnostic['at']): Diagnostic => ({
  code,
  severity: 'warning',
  message,
  hint,
  ...(at === undefined ? {} : { at }),
})

/** Members of the same bond outside the file: packets that arrive there are not filtered. */
function otherMembers(link: Link, live: Live, state: State): string[] {
  return [...live.links.values()]
    .filter(({ name, master }) => master === link.master && name !== link.name && !state.interfaces.has(name))
    .map(({ name }) => name)
    .sort()
}

function warnMember(link: Link, live: Live, state: State, at: Diagnostic['at']): Diagnostic[] {
  if (link.master === undefined) return []
  const kind = live.links.get(link.master)?.kind
  if (kind === 'bridge') {
    const message = `${link.name} is a port of bridge ${link.master}: frames that the bridge only forwards are filtered too`
    return [warning('W204', message, `add the sources that must cross the bridge to allowlist`, at)]
  }
  if (kind !== 'bond' && kind !== 'team') return []
  const others = otherMembers(link, live, state)
  if (others.length === 0) return []
  const message = `${link.name} is a member of ${kind} ${link.master}: packets on its other members are not filtered`
  return [warning('W204', message, `add ${others.join(', ')} to interfaces, or attach to ${link.master} instead`, at)]
}

/** Warnings about an interface to which this plan attaches a program. */
function warnAttach({ interface: name, modes }: Attachment, live: Live, state: State, at: Diagnostic['at']) {
  const link = live.links.get(name)
  if (link === undefined) return []
  const found: Diagnostic[] = []
  const native = modes.includes('native')
  if (native && link.kind === 'veth') {
    const message = `native XDP on ${name} turns off TCP segmentation offload on its veth peer while it is attached`
    found.push(warning('W201', message, 'write `mode: generic` if TCP throughput of the peer matters more', at))
  }
  if (native) found.push(...warnStacked(link, modes, live, at), ...warnDriver(link, modes, live, at))
  if (!link.up)
    found.push(warning('W202', `${name} is down: no packet reaches the filter`, `ip link set ${name} up`, at))
  return [...found, ...warnMember(link, live, state, at)]
}

/** Warns about an attachment that stays in a mode other than the first of its list. */
function warnMode(desired: Desired, live: Live, changed: ReadonlySet<string>): Diagnostic[] {
  const attachments = [...ownAttachments(live)].sort(([left], [right]) => (left < right ? -1 : 1))
  return attachments.flatMap(
    ([
      name,
      {
        modes: [mode],
      },
    ]) => {
      const wanted = desired.state.interfaces.get(name)?.modes ?? []
      if (mode === undefined || !wanted.includes(mode) || wanted[0] === mode || changed.has(name)) return []
      const message = `${name} stays in ${mode} mode, though ${wanted[0]} is preferred: a switch would interrupt filtering`
      const hint = `to let apply switch it, write \`mode: ${wanted[0]}\``
      return [warning('W203', message, hint, desired.options.get(name)?.at)]
    },
  )
}

/** Warns about interfaces without an allowlist entry, if other interfaces have some. */
function warnShut({ interfaces }: State, allowed: readonly ScopedSet[]): Diagnostic[] {
  const isShut = (name: string): boolean => !allowed.some(({ scope }) => coversInterface(scope, name))
  const shut = [...interfaces.values()].filter(({ interface: name, roles }) => roles.includes('filter') && isShut(name))
  if (shut.length === 0) return []
  const names = shut.map(({ interface: name }) => name).sort()
  const message = `policy.default is drop and no entry of the allowlist applies on ${names.join(', ')}`
  return [warning('W205', message, 'add the interface to `interfaces` of an entry, or remove that key')]
}

function warnPolicy(state: State): Diagnostic[] {
  if (state.policy?.default !== 'drop') return []
  const allowed = [...state.lists.values()].flatMap(({ kind, sets }) => (kind === 'allowlist' ? sets : []))
  if (allowed.length > 0) return warnShut(state, allowed)
  const spared = state.policy.established === 'pass' ? ' and those of connections that this host opened' : ''
  const message = `policy.default is drop and the allowlist is empty: every packet except essential ones${spared} is dropped`
  return [warning('W205', message, 'add the sources that must pass to allowlist')]
}

function warnProgram(changes: readonly Change[]): Diagnostic[] {
  const change = changes.find(({ kind, op }) => kind === 'program' && op === 'replace')
  if (change?.kind !== 'program' || change.op !== 'replace') return []
  const message = `the new program has ABI ${change.after.abi}, the live one ${change.before.abi}: counters restart from zero`
  return [warning('W206', message, 'if the old counters matter, save `xdp status --json` first')]
}

const warnNothing = (skipped: readonly string[]): Diagnostic =>
  skipped.length > 0
    ? warning('W207', 'no interface of the file exists, so no packet is filtered', 'check the names: `ip -brief link`')
    : warning('W207', 'the file names no interface, so no packet is filtered', 'add one under interfaces')

/** Warns that apply is refused, because an earlier one waits for its confirmation. */
function warnUnconfirmed({ pending }: Live): Diagnostic[] {
  if (!pending) return []
  const message = `generation ${pending.generation} waits for confirmation ${pending.id}: apply is refused until then, and this plan may be another one afterwards`
  return [warning('W245', message, 'xdp confirm, or xdp confirm --cancel')]
}

/** Every warning about a plan, in a fixed order. `state` is the state after the plan. */
export function warn(desired: Desired, state: State, live: Live, changes: readonly Change[]): Diagnostic[] {
  const skipped = [...desired.state.interfaces.keys()].filter((name) => !state.interfaces.has(name)).sort()
  const attached = changes.flatMap((change) =>
    change.kind === 'interface' && (change.op === 'create' || change.op === 'replace') ? [change.after] : [],
  )
  const changed = new Set(attached.map((attachment) => attachment.interface))
  const nothing = state.interfaces.size === 0 && changes.length > 0
  return [
    ...warnUnconfirmed(live),
    ...skipped.map((name) => {
      const hint = 'run `xdp apply` again once it exists'
      return warning('W200', `interface ${name} does not exist and is left out`, hint, desired.options.get(name)?.at)
    }),
    ...(nothing ? [warnNothing(skipped)] : []),
    ...(changes.length > 0
      ? [
          ...warnProgram(changes),
          ...warnPolicy(state),
          ...warnOwn(state, live),
          ...warnSockets(state, live),
          ...warnSyn(state, live, desired.provenance.synProtection),
          ...warnTagged(state, desired, live),
        ]
      : []),
    ...attached.flatMap((attachment) =>
      warnAttach(attachment, live, state, desired.options.get(attachment.interface)?.at),
    ),
    ...warnMode(desired, live, changed),
    ...warnServices({ desired, state, live }, changes),
    ...(changes.length > 0 ? warnHealth(desired, state, live) : []),
  ]
}
