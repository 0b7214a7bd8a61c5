// Titles of objects in text.

import type { ObjectKey } from '../model/live.ts'
import { limitOfSources } from '../model/rate-limit.ts'
import type { List, ListKind } from '../model/state.ts'
import type { Change } from '../plan/change.ts'

/** The list of unnamed entries has the name of its kind, and sources have that of their limit. */
export function listTitle(kind: ListKind, name: string): string {
  if (kind === 'sources') return `sources ${limitOfSources(name)}`
  return kind === name ? kind : `${kind} ${name}`
}

/** `interface eth0`, `blocklist spamhaus`, `rate_limit dns`, `service web`, `policy`. */
export function changeTitle(change: Change): string {
  switch (change.kind) {
    case 'program':
    case 'policy':
      return change.kind
    case 'interface':
      return `interface ${(change.after ?? change.before).interface}`
    case 'list': {
      const { kind, name }: List = change.after ?? change.before
      return listTitle(kind, name)
    }
    case 'rate_limit':
    case 'service':
      return `${change.kind} ${(change.after ?? change.before).name}`
    default:
      return change satisfies never
  }
}

/** `interface:eth0` → `interface eth0`. */
export const keyTitle = (key: ObjectKey | string): string => key.replace(':', ' ')
