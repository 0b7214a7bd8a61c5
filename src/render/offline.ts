// The part of a plan or a verdict that says how it was made without the kernel, and what it does not know.

import type { Against, Unknown } from '../model/exported.ts'

/** The other side of a plan without the kernel. */
export interface OfflineView {
  readonly against: Against
  readonly unknown: readonly Unknown[]
}

/** The state or config, in words. */
export function otherSide(against: Against): string {
  if (against.kind === 'config') return `the config ${against.path}`
  const { host, createdAt, live } = against.state
  const generation = live.generation === 0 ? 'nothing applied' : `generation ${live.generation}`
  return `${against.path}, the state of ${host.name} at ${createdAt.slice(0, 19)}Z (${generation})`
}

/** The sentence about a plan without changes. */
export function sameText({ against }: OfflineView, config: string): string {
  if (against.kind === 'config') return `No changes: ${against.path} and ${config} are the same policy.`
  return `No changes. The state of ${against.state.host.name} matches ${config}.`
}

export const offlineLines = ({ against, unknown }: OfflineView): string[] => [
  `Made without the kernel, against ${otherSide(against)}. This plan does not know:`,
  ...unknown.map(({ why }) => `  - ${why}`),
  '',
]

function otherJson(against: Against): Readonly<Record<string, unknown>> {
  const { kind, path } = against
  if (kind === 'config')
    return { kind, path, sha256: against.sha256, host: null, instance: null, exported_at: null, generation: null }
  const { host, createdAt, live } = against.state
  return {
    kind,
    path,
    sha256: null,
    host: host.name,
    instance: host.instance,
    exported_at: createdAt,
    generation: live.generation,
  }
}

/** An exported state as the other side, of a verdict. */
export const stateJson = (against: Extract<Against, { kind: 'state' }>): Readonly<Record<string, unknown>> => {
  const { path, host, instance, exported_at, generation } = otherJson(against)
  return { path, host, instance, exported_at, generation }
}

export const offlineJson = ({ against, unknown }: OfflineView): Readonly<Record<string, unknown>> => ({
  ...otherJson(against),
  unknown: unknown.map(({ what, why }) => ({ what, why })),
})
