// Renders a plan as JSON (schemas/plan.schema.json).

import { type Cuts, NO_CUTS } from '../model/contact.ts'
import type { Provenance } from '../model/desired.ts'
import type { AttachedProgram } from '../model/live.ts'
import { type List, scopeKey } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'
import type { Change, Plan } from '../plan/change.ts'
import { atOf, protocolOf } from '../plan/cuts.ts'
import { prefixCount } from '../plan/delta.ts'
import { summaryOf } from '../plan/summary.ts'
import { diagnosticsJson } from './diagnostic.ts'
import { jsonDocument } from './json.ts'
import { SAMPLES, type Sample, summarizeList } from './list-summary.ts'
import type { PlanView } from './plan.ts'
import { shownPolicy } from './policy.ts'
import { balanceJson, serviceJson } from './service-json.ts'

const listJson = ({ name, kind, sets }: List) => ({
  name,
  kind,
  scopes: sets.map(({ scope, addresses }) => ({ scope: scopeKey(scope), prefixes: prefixCount(addresses) })),
})

function objectsJson(change: Change): { before: unknown; after: unknown } {
  if (change.kind === 'service')
    return {
      before: change.before ? serviceJson(change.before) : null,
      after: change.after ? serviceJson(change.after) : null,
    }
  if (change.kind === 'policy')
    return {
      before: change.before ? shownPolicy(change.before) : null,
      after: change.after ? shownPolicy(change.after) : null,
    }
  if (change.kind !== 'list') return { before: change.before ?? null, after: change.after ?? null }
  return {
    before: change.before === undefined ? null : listJson(change.before),
    after: change.after === undefined ? null : listJson(change.after),
  }
}

const sampleJson = ({ prefix, at }: Sample) => ({ prefix, at: at ?? null })

const programJson = ({ id, name, tag, mode, loadedAt }: AttachedProgram) => ({
  id,
  name,
  tag,
  mode,
  loaded_at: loadedAt,
})

function deltaJson(change: Change, provenance: Provenance | undefined, most: number) {
  if (change.kind !== 'list') return {}
  const delta = summarizeList(change, provenance, most).map(
    ({ addedSamples, removedSamples, scope, added, removed }) => ({
      scope,
      added,
      removed,
      added_samples: addedSamples.map(sampleJson),
      removed_samples: removedSamples.map(sampleJson),
    }),
  )
  return { delta }
}

function balanceOf(change: Change, provenance: Provenance | undefined) {
  if (change.kind !== 'service' || change.balance === undefined) return {}
  return { balance: balanceJson(change.balance, provenance?.services.get((change.after ?? change.before).name)) }
}

/**
 * One change, in one shape for every kind. Lists add `delta`, services `balance`, interfaces `displaces`.
 */
export function changeJson(change: Change, provenance: Provenance | undefined, most: number) {
  const { op, kind, key, impact, reason } = change
  const displaces = change.displaces === undefined ? {} : { displaces: change.displaces.map(programJson) }
  return {
    op,
    kind,
    key,
    ...objectsJson(change),
    impact,
    ...(change.cuts === undefined ? {} : { cuts: change.cuts }),
    reason,
    ...deltaJson(change, provenance, most),
    ...balanceOf(change, provenance),
    ...displaces,
  }
}

/** Every cut, whatever the detail. */
function cutsJson(cuts: Cuts | undefined, provenance: Provenance | undefined) {
  const { connections, omitted, cut } = cuts ?? NO_CUTS
  return {
    connections,
    omitted,
    cut: cut.map((one) => {
      const { contact, owner, guarded, after } = one
      return {
        kind: contact.kind,
        peer: formatAddress(contact.peer.family, contact.peer.words),
        peer_port: contact.kind === 'connection' ? contact.peerPort : null,
        local: contact.local ? formatAddress(contact.local.family, contact.local.words) : null,
        local_port:
          contact.kind === 'connection'
            ? contact.localPort
            : contact.kind === 'protected'
              ? (contact.port ?? null)
              : null,
        protocol: protocolOf(contact),
        inbound: contact.kind === 'connection' ? contact.isInbound : null,
        process: owner ?? null,
        interface: one.interface,
        guarded: guarded ?? null,
        reason: after.reason,
        list: after.list ?? null,
        service: after.service ?? null,
        at: atOf(one, provenance) ?? null,
      }
    }),
  }
}

/** The plan as one JSON document. `view.detail` `full` lists every prefix, `summary` none. */
export const renderPlanJson = (plan: Plan, view: Omit<PlanView, 'color'>): string =>
  jsonDocument(planFields(plan, view))

/** The fields of that document. */
export function planFields(
  plan: Pick<Plan, 'changes' | 'drift' | 'warnings' | 'cuts'>,
  view: Omit<PlanView, 'color'>,
): Readonly<Record<string, unknown>> {
  const most = { full: Number.POSITIVE_INFINITY, normal: SAMPLES, summary: 0 }[view.detail]
  return {
    config: view.config ?? null,
    changes: plan.changes.map((change) => changeJson(change, view.provenance, most)),
    drift: plan.drift,
    cuts: cutsJson(plan.cuts, view.provenance),
    summary: summaryOf(plan.changes),
    partial: plan.changes.length !== view.total,
    warnings: diagnosticsJson(plan.warnings),
    ...(view.commands === undefined ? {} : { commands: view.commands }),
  }
}
