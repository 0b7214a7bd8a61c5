// Drops of flags that an anomaly has a name for. An anomaly is for every source of both families, and connections that
// this host opened are no exception.

import type { AnomalyName } from '../model/anomaly.ts'
import type { Established } from '../model/policy.ts'
import { TCP } from '../model/ports.ts'
import { equals } from '../model/ranges.ts'
import { type Scope, scopeKey } from '../model/state.ts'
import { EVERY } from './addresses.ts'
import { byteOf } from './scopes.ts'
import type { ImportedList } from './source.ts'

const HEADERS = byteOf(['fin', 'syn', 'rst', 'psh', 'ack', 'urg'])
const [SYN_FIN, SYN_RST] = [byteOf(['syn', 'fin']), byteOf(['syn', 'rst'])]

const scopeOf = (mask: number, value: number): Scope => ({
  protocol: TCP,
  sourcePorts: [],
  destinationPorts: [],
  match: { tcpFlags: { mask, value } },
})

const BY_SCOPE: ReadonlyMap<string, AnomalyName> = new Map([
  [scopeKey(scopeOf(HEADERS, 0)), 'tcp_null'],
  [scopeKey(scopeOf(SYN_FIN, SYN_FIN)), 'tcp_syn_fin'],
  [scopeKey(scopeOf(SYN_RST, SYN_RST)), 'tcp_syn_rst'],
])

/** The anomaly that drops what an entry drops: no more than the rule, whose datagrams share the flags of their first fragment. */
function anomalyOf({ kind, name, scope, addresses }: ImportedList, policy: Established): AnomalyName | undefined {
  const { established = policy, match, ...rest } = scope
  const isForAll = equals(addresses.v4, EVERY[4]) && equals(addresses.v6, EVERY[6])
  if (kind !== 'blocklist' || name !== undefined || established !== 'judge' || !isForAll || match === undefined)
    return undefined
  const { fragments, ...others } = match
  return fragments === undefined || fragments === 'none'
    ? BY_SCOPE.get(scopeKey({ ...rest, match: others }))
    : undefined
}

/** The lists without those that an anomaly stands for. */
export function withAnomalies(
  lists: readonly ImportedList[],
  policy: Established,
): { readonly lists: readonly ImportedList[]; readonly anomalies: readonly AnomalyName[] } {
  const found = lists.map((list) => anomalyOf(list, policy))
  return {
    lists: lists.filter((_, index) => found[index] === undefined),
    anomalies: [...new Set(found.filter((name) => name !== undefined))].sort(),
  }
}
