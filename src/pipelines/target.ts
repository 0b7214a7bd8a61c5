// From a plan to its lowering: what an apply of it builds.

import type { Lowering, Target } from '../features/feature.ts'
import { partsFor } from '../features/features.ts'
import { buildProbes } from '../kernel/live/probe.ts'
import type { Observation } from '../kernel/observe/observe.ts'
import type { ConfirmTerms } from '../model/confirmation.ts'
import { union } from '../model/ranges.ts'
import type { Plan } from '../plan/change.ts'
import { editImage, type Toggle } from '../tables/image/edit.ts'
import { compileImage } from '../tables/image/image.ts'
import type { ImageMeta } from '../tables/image/source.ts'
import { committedImage, type Image } from '../tables/layout/layout.ts'
import { rewriteOf } from '../tables/services/edit-hops.ts'
import { hasStaleRecords, type Made } from './prepare.ts'
import type { Session } from './session.ts'

/** Whether roles of interfaces change, which the tables hold by slot. */
const rolesChange = ({ slots, state }: Plan, { roles }: Pick<Observation, 'roles'>): boolean =>
  [...slots.interfaces].some(([name, slot]) => {
    const wanted = state.interfaces.get(name)?.roles
    return wanted !== undefined && wanted.join() !== roles?.[slot]?.join()
  })

/** Whether interfaces that scopes name have other slots than in the tables, or are there for the first time. */
const scopesMove = ({ slots }: Plan, { scopedInterfaces }: Pick<Observation, 'scopedInterfaces'>): boolean =>
  [...scopedInterfaces].some(([name, slot]) => slots.interfaces.get(name) !== slot)

/** Whether other programs are to run behind ours than the live generation hands packets to. */
const chainsMove = ({ state }: Plan, { chains }: Pick<Observation, 'chains'>): boolean =>
  [...new Set([...state.interfaces.keys(), ...chains.keys()])].some((name) => {
    const [wanted, present] = [state.interfaces.get(name)?.chain, chains.get(name)]
    return wanted?.id !== present?.held || wanted?.pin !== present?.program.pin
  })

/**
 * Whether the plan needs a new generation. Changes of interfaces alone do not, unless their roles differ, programs behind
 * ours, or slots that scopes refer to.
 */
export const needsGeneration = (
  made: Plan,
  live: Pick<Observation, 'roles' | 'scopedInterfaces' | 'chains'>,
): boolean =>
  made.changes.some(({ kind }) => kind !== 'interface') ||
  (made.changes.length > 0 && (rolesChange(made, live) || scopesMove(made, live) || chainsMove(made, live)))

/** Addresses that the plan adds to lists and removes from them. */
const togglesOf = ({ changes }: Plan): Toggle[] =>
  changes.flatMap((change) => {
    if (change.kind !== 'list') return []
    const list = (change.after ?? change.before).name
    return (change.delta ?? []).map(({ scope, added, removed }) => {
      return { list, scope, addresses: { v4: union(added.v4, removed.v4), v6: union(added.v6, removed.v6) } }
    })
  })

/** The image of the plan: the live one edited if possible, else compiled. */
function imageFor(made: Plan, { takeover }: Observation, meta: ImageMeta): Image {
  const { state, slots, leaving, deadlines } = made
  const source = { state, slots, leaving, deadlines, meta, before: takeover?.services }
  const previous = takeover?.image()
  const edited = previous && editImage({ ...source, previous, toggles: togglesOf(made) })
  return edited ?? compileImage({ ...source, previous: takeover?.known })
}

/** Names of services that the plan changes. */
const changedServices = ({ changes }: Plan): ReadonlySet<string> =>
  new Set(changes.flatMap((change) => (change.kind === 'service' ? [(change.after ?? change.before).name] : [])))

/** Whether the plan only follows next hops of services whose tables and programs are as they were written. */
const followsHops = (made: Plan, live: Observation): boolean =>
  live.drift.size === 0 &&
  live.leftovers.length === 0 &&
  live.instance.missing.length === 0 &&
  !hasStaleRecords(made, live) &&
  made.changes.length > 0 &&
  made.changes.every(({ kind, op, reason }) => kind === 'service' && op === 'update' && reason === 'drift')

/** The image of the live generation with the next hops of the plan; undefined if that takes another generation. */
function rewritten(made: Made): Pick<Target, 'image' | 'rewrite'> | undefined {
  const { plan: wanted, live, object } = made
  const { header, meta } = live.committed ?? {}
  const known = live.takeover?.known
  if (!followsHops(wanted, live) || !known || !header || !meta) return undefined
  const { generation } = live
  const image = imageFor(wanted, live, { generation, netns: live.ownNetns, objectDigest: object.digest })
  const rewrite = rewriteOf(image, { ...known, header })
  return rewrite && { image: committedImage(image, meta.committed_at), rewrite }
}

/** The content of the target, and its generation. A confirmation needs a generation to return from. */
function contentOf(made: Made, isConfirmed: boolean): Pick<Target, 'generation' | 'image' | 'rewrite'> {
  const { plan: wanted, live, object } = made
  const { generation } = live
  if (!isConfirmed && !needsGeneration(wanted, live)) return { generation, image: undefined, rewrite: undefined }
  const inPlace = isConfirmed ? undefined : rewritten(made)
  if (inPlace) return { generation, ...inPlace }
  const next = live.lastGeneration + 1
  const meta = { generation: next, netns: live.ownNetns, objectDigest: object.digest }
  return { generation: next, image: imageFor(wanted, live, meta), rewrite: undefined }
}

/**
 * The target of the plan.
 *
 * @param keepsHealth a daemon knows the health of backends
 * @param request the confirmation that the apply waits for
 */
export function targetOf(
  made: Made,
  keepsHealth: boolean,
  request?: Pick<ConfirmTerms, 'id' | 'milliseconds' | 'config' | 'on'>,
): Target {
  const { plan: wanted, live, object, terms } = made
  const content = contentOf(made, request !== undefined)
  return {
    ...content,
    confirmation: request && { ...request, generation: content.generation, previous: live.committed?.number ?? 0 },
    // A whole image can be compared line by line, digests only section by section.
    previous: live.takeover?.image() ?? live.takeover?.known,
    objects: object.objects,
    parts: partsFor(wanted.state),
    carryObject: object.carryPath,
    kindsObject: object.kindsPath,
    isStaged: false,
    now: terms.now,
    keepsHealth,
    contacts: made.contacts,
    probes: buildProbes(wanted.state, live.links, wanted.slots.interfaces, changedServices(wanted)),
  }
}

export const loweringOf = ({ paths }: Session, { plan: made, live }: Made, target: Target): Lowering => ({
  paths,
  plan: made,
  live,
  target,
})
