// A packet and its expected verdict under a suite's policy. Cases without addresses use those of support/packets.ts:
// 198.51.100.7 and 2001:db8::7.

import type { State } from '../../../src/model/state.ts'
import type { ReasonName } from '../../../src/report/reason.ts'
import { ethernet, type Layer, packet } from '../../support/packets.ts'

export interface Case {
  readonly name: string
  readonly frame: Uint8Array
  readonly reason: ReasonName
  /** Lists that count the packet. */
  readonly lists: readonly string[]
}

export interface Suite {
  readonly name: string
  readonly state: State
  readonly cases: readonly Case[]
}

export const of = (name: string, reason: ReasonName, lists: readonly string[], ...layers: readonly Layer[]): Case => ({
  name,
  reason,
  lists,
  frame: packet(ethernet(), ...layers),
})

export const UDP = 17
export const TCP = 6
export const AD = { type: 0x88a8 }
export const repeated = (count: number, layer: Layer): Layer[] => Array.from({ length: count }, () => layer)
