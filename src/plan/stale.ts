// Whether a saved plan is still the plan of this host: compares its basis with the present one, and names each difference.

import { type Code, type Diagnostic, XdpError } from '../diagnostics.ts'
import {
  FACT_KINDS,
  type FactKind,
  type PlanBuild,
  type PlanFact,
  type PlanHost,
  type PlanInput,
  type PlannedChange,
} from '../model/saved-plan.ts'
import { NO_DEVICE, NO_PROGRAM } from './facts.ts'

const AGAIN = 'make and review the plan again: xdp plan --out FILE'

const refusal = (code: Code, message: string, hint = AGAIN): Diagnostic => ({
  code,
  severity: 'error',
  message,
  hint,
})

/** Most diagnostics of one refusal. */
const MOST_SHOWN = 20

/** Throws the diagnostics, if there are any: the first of them, with the number of the others. */
export function refuseMoved(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length === 0) return
  throw new XdpError(diagnostics.slice(0, MOST_SHOWN), { omitted: Math.max(0, diagnostics.length - MOST_SHOWN) })
}

const stale = (message: string): Diagnostic => refusal('E244', message)

/** Refuses a plan that was made elsewhere (E242), naming the first difference. */
export function guardPlanHost(saved: PlanHost, own: PlanHost): Diagnostic[] {
  if (saved.bootId !== own.bootId && saved.name !== own.name)
    return [refusal('E242', `the plan was made on host ${saved.name}, and this is ${own.name}`)]
  if (saved.bootId !== own.bootId) return [refusal('E242', `${own.name} has been rebooted since the plan was made`)]
  if (saved.instance !== own.instance) {
    const message = `the plan is for instance ${saved.instance}, and this command works on ${own.instance}`
    return [refusal('E242', message, `name its instance: --instance ${saved.instance}`)]
  }
  if (saved.bpffs !== own.bpffs) {
    const message = `the plan is for the bpffs ${saved.bpffs}, and this command works on ${own.bpffs}`
    return [refusal('E242', message, `name its bpffs: --bpffs ${saved.bpffs}`)]
  }
  if (saved.netns === own.netns) return []
  const message = `the plan was made in network namespace ${saved.netns}, and this command runs in ${own.netns}`
  return [refusal('E242', message, 'enter that namespace: nsenter --net=/run/netns/NAME xdp apply PLAN')]
}

/** Refuses a plan that another build made (E243): it may have planned otherwise. */
export function guardPlanBuild(saved: PlanBuild, own: PlanBuild): Diagnostic[] {
  if (saved.version !== own.version)
    return [refusal('E243', `the plan was made by xdp ${saved.version}, and this is ${own.version}`)]
  if (saved.abi !== own.abi)
    return [refusal('E243', `the plan was made for the data plane ABI ${saved.abi}, and this build has ${own.abi}`)]
  if (saved.digest === own.digest) return []
  const [before, now] = [saved.digest.slice(0, 12), own.digest.slice(0, 12)]
  return [refusal('E243', `the plan was made with other BPF programs: digest ${before}, and this build has ${now}`)]
}

const INPUTS: Readonly<Record<PlanInput['kind'], string>> = {
  config: 'the config',
  included: 'the included file',
  allowlist: 'the allowlist file',
  blocklist: 'the blocklist file',
  sources: 'the file of sources',
}

const inputText = ({ kind, path }: PlanInput): string => `${INPUTS[kind]} ${path}`

/** There is one config, which may have another name now. */
const inputKey = ({ kind, path }: PlanInput): string => (kind === 'config' ? '' : path)

/** The files that changed since the plan was made. One that cannot be read has an empty digest. */
export function movedInputs(saved: readonly PlanInput[], now: readonly PlanInput[]): Diagnostic[] {
  const present = new Map(now.map((input) => [inputKey(input), input]))
  const known = new Set(saved.map(inputKey))
  const changed = saved.flatMap((input): Diagnostic[] => {
    const found = present.get(inputKey(input))
    if (found === undefined) return [stale(`${inputText(input)} is no longer read`)]
    if (found.sha256 === '') return [stale(`${inputText(input)} is gone, or cannot be read`)]
    return found.sha256 === input.sha256 ? [] : [stale(`${inputText(input)} changed since the plan was made`)]
  })
  const added = now.filter((input) => !known.has(inputKey(input)))
  return [...changed, ...added.map((input) => stale(`${inputText(input)} is new since the plan was made`))]
}

/** Both values of a fact; undefined: there was none, or there is none. */
interface Moved {
  readonly name: string
  readonly before: string | undefined
  readonly after: string | undefined
}

const object =
  (kind: string) =>
  ({ name, before, after }: Moved): string => {
    if (before === undefined) return `the ${kind} ${name} is pinned now (${after})`
    if (after === undefined) return `the ${kind} ${name} is no longer pinned (was ${before})`
    return `the ${kind} ${name} is another one (${after}, was ${before})`
  }

const record = ({ name, before = 'none', after = 'none' }: Moved): string =>
  `the record of ${name} changed: ${after}, was ${before}`

const TEXTS: Readonly<Record<FactKind, (moved: Moved) => string>> = {
  generation: ({ before, after }) => `generation ${after} is live, was ${before}: there was another apply or a destroy`,
  confirmation: ({ before, after }) =>
    after === 'none'
      ? `the confirmation ${before}, which was pending, has ended`
      : `an apply waits for the confirmation ${after}`,
  tables: () => 'the live tables were written again',
  leftovers: ({ before, after }) => `the leftovers of an interrupted apply changed: ${after}, was ${before}`,
  device: ({ name, before, after }) => {
    if (before === undefined) return `${name} now has a part in the plan (${after})`
    if (after === undefined) return `${name} no longer has a part in the plan`
    if (after === NO_DEVICE) return `interface ${name} is gone`
    return before === NO_DEVICE ? `interface ${name} exists now` : `interface ${name} changed: ${after}; was ${before}`
  },
  programs: ({ name, before = NO_PROGRAM, after = NO_PROGRAM }) => {
    if (before === NO_PROGRAM) return `${name} has a program now (${after})`
    if (after === NO_PROGRAM) return `${name} has lost its program (${before})`
    return `${name} has another program (${after}, was ${before})`
  },
  drift: ({ name, before, after }) =>
    after === undefined ? `${name} no longer drifts (${before})` : `${name} drifted: ${after}`,
  'next-hop': ({ name, before = 'none', after = 'none' }) => `the next hop of ${name} changed: ${after}; was ${before}`,
  tcp: ({ before, after }) => `TCP settings of the kernel changed: ${after}, was ${before}`,
  'local-ports': ({ before, after }) => `net.ipv4.ip_local_port_range changed: ${after}, was ${before}`,
  'own-addresses': ({ before = '', after = '' }) =>
    `the addresses of this host changed: ${after || 'none'}; were ${before || 'none'}`,
  record,
  index: () => 'the index of interfaces was written again',
  stack: ({ name, before = 'none', after = 'none' }) =>
    `the devices stacked on ${name} changed: ${after}; were ${before}`,
  map: object('map'),
  program: object('program'),
}

/** Kinds that every apply changes: beside another generation they say nothing more. */
const OF_GENERATION: ReadonlySet<FactKind> = new Set(['tables', 'record', 'index', 'map', 'program', 'drift'])

const isOurs = (value = NO_PROGRAM): boolean =>
  value === NO_PROGRAM || value.split('; ').every((one) => one.includes(' of generation '))

/** The facts about the live state that are no longer as they were. */
export function movedFacts(saved: readonly PlanFact[], now: readonly PlanFact[]): Diagnostic[] {
  const keyOf = ({ kind, name }: PlanFact): string => `${kind} ${name}`
  const [before, after] = [saved, now].map((facts) => new Map(facts.map((fact) => [keyOf(fact), fact]))) as [
    Map<string, PlanFact>,
    Map<string, PlanFact>,
  ]
  const moved = [...new Map([...before, ...after]).values()].flatMap((fact) => {
    const [had, has] = [before.get(keyOf(fact))?.value, after.get(keyOf(fact))?.value]
    return had === has ? [] : [{ kind: fact.kind, name: fact.name, before: had, after: has }]
  })
  const isOther = moved.some(({ kind }) => kind === 'generation')
  const follows = ({ kind, before: had, after: has }: (typeof moved)[number]): boolean =>
    OF_GENERATION.has(kind) || (kind === 'programs' && isOurs(had) && isOurs(has))
  return moved
    .filter((one) => !isOther || !follows(one))
    .sort((left, right) => FACT_KINDS.indexOf(left.kind) - FACT_KINDS.indexOf(right.kind))
    .map((one) => stale(TEXTS[one.kind](one)))
}

/**
 * The changes that are no longer those of the plan, although files and live state are as they were: time alone can do
 * that, because feeds have a `max_age`.
 */
export function movedChanges(saved: readonly PlannedChange[], now: readonly PlannedChange[]): Diagnostic[] {
  const [before, after] = [saved, now].map((all) => new Map(all.map((one) => [one.key, one]))) as [
    Map<string, PlannedChange>,
    Map<string, PlannedChange>,
  ]
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((key): Diagnostic[] => {
    const [had, has] = [before.get(key), after.get(key)]
    if (had?.sha256 === has?.sha256) return []
    const what =
      has === undefined ? 'is no longer planned' : had === undefined ? 'is planned too now' : 'is another one'
    return [stale(`the change of ${key} ${what}, as by the age of a feed`)]
  })
}
