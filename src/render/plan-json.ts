// Renders a plan as JSON (schemas/plan.schema.json).

import { type Contact, type Cuts, NO_CUTS } from '../model/contact.ts'
import type { Provenance } from '../model/desired.ts'
import { type List, scopeKey } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'
import type { Change, Plan } from '../plan/change.ts'
import { atOf, protocolOf } from '../plan/cuts.ts'
import { prefixCount } from '../plan/delta.ts'
import { summaryOf } from '../plan/summary.ts'
import type { Places } from './change.ts'
import { diagnosticsJson } from './diagnostic.ts'
import { driftJson, programJson } from './drift.ts'
import { jsonDocument } from './json.ts'
import { SAMPLES, summarizeList } from './list-summary.ts'
import { offlineJson } from './offline.ts'
import type { PlanView } from './plan.ts'
import { shownPolicy } from './policy.ts'
import { rateLimitJson, rateLimitPlace } from './rate-limit.ts'
import { balanceJson, serviceJson } from './service-json.ts'
import type { Sample } from './typed.ts'

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
  if (change.kind === 'rate_limit')
    return {
      before: change.before ? rateLimitJson(change.before) : null,
      after: change.after ? rateLimitJson(change.after) : null,
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

const sampleJson = ({ prefix, at, within, stays }: Sample) => ({
  prefix,
  at: at ?? null,
  ...(within !== undefined && { within }),
  ...(stays && { stays }),
})

function deltaJson(change: Change, { provenance, earlier }: Places, most: number) {
  if (change.kind !== 'list') return {}
  const delta = summarizeList(change, provenance, most, earlier).map(
    ({ addedSamples, removedSamples, scope, added, removed }) => ({
      scope,
      added,
      removed,
      added_samples: addedSamples.samples.map(sampleJson),
      removed_samples: removedSamples.samples.map(sampleJson),
    }),
  )
  return { delta }
}

function balanceOf(change: Change, provenance: Provenance | undefined) {
  if (change.kind !== 'service' || change.balance === undefined) return {}
  return { balance: balanceJson(change.balance, provenance?.services.get((change.after ?? change.before).name)) }
}

/**
 * One change, in one shape for every kind. Lists add `delta`, services `balance`, interfaces `displaces`, rate limits `at`, and
 * changes from observing to dropping `observed`.
 */
export function changeJson(change: Change, places: Places, most: number) {
  const { provenance } = places
  const { op, kind, key, impact, reason, origin } = change
  const displaces = change.displaces === undefined ? {} : { displaces: change.displaces.map(programJson) }
  return {
    op,
    kind,
    key,
    ...objectsJson(change),
    impact,
    ...(change.cuts === undefined ? {} : { cuts: change.cuts }),
    reason,
    ...(origin === undefined ? {} : { drifted: origin.drifted, edited: origin.edited ?? null }),
    ...(change.observed && { observed: change.observed }),
    ...deltaJson(change, places, most),
    ...balanceOf(change, provenance),
    ...displaces,
    ...(change.kind === 'rate_limit' && { at: rateLimitPlace(change, provenance) ?? null }),
  }
}

/** The local port of a connection or a protected prefix. */
function localPortOf(contact: Contact): number | undefined {
  if (contact.kind === 'connection') return contact.localPort
  return contact.kind === 'protected' ? contact.port : undefined
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
        peer_port: ('peerPort' in contact ? contact.peerPort : undefined) ?? null,
        local: contact.local ? formatAddress(contact.local.family, contact.local.words) : null,
        local_port: localPortOf(contact) ?? null,
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

/** Prefixes that are listed: all, five or none. */
const mostOf = ({ detail }: Pick<PlanView, 'detail'>): number =>
  ({ full: Number.POSITIVE_INFINITY, normal: SAMPLES, summary: 0 })[detail]

/** The plan as one JSON document. `view.detail` `full` lists every prefix, `summary` none. */
export const renderPlanJson = (plan: Parameters<typeof planFields>[0], view: Omit<PlanView, 'color'>): string =>
  jsonDocument(planFields(plan, view))

/** The fields of that document. */
export function planFields(
  plan: Pick<Plan, 'changes' | 'drift' | 'warnings' | 'cuts' | 'rateMemory'>,
  view: Omit<PlanView, 'color'>,
): Readonly<Record<string, unknown>> {
  const { config, provenance, commands, saved, total, offline } = view
  return {
    config: config ?? null,
    changes: plan.changes.map((change) => changeJson(change, view, mostOf(view))),
    drift: plan.drift.map(driftJson),
    cuts: cutsJson(plan.cuts, provenance),
    ...(plan.rateMemory && { rate_memory: plan.rateMemory }),
    summary: summaryOf(plan.changes),
    partial: plan.changes.length !== total,
    warnings: diagnosticsJson(plan.warnings),
    ...(commands === undefined ? {} : { commands }),
    ...(offline === undefined ? {} : { against: offlineJson(offline) }),
    ...(saved === undefined ? {} : { saved: { path: saved.path, sha256: saved.sha256, accepted: saved.accepted } }),
  }
}

/**
 * The plan as a saved one shows it to readers. Without the connections that it cuts: they are judged when it is applied, and
 * clients of this host have no place in the records of a pipeline.
 */
export function savedPlanJson(plan: Plan, view: Pick<PlanView, 'provenance' | 'detail'>) {
  return {
    changes: plan.changes.map((change) => changeJson(change, view, mostOf(view))),
    drift: plan.drift.map(driftJson),
    summary: summaryOf(plan.changes),
    warnings: diagnosticsJson(plan.warnings),
  }
}
