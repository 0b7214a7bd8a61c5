// Asks next hops whether they still have their MAC addresses, while packets are sent to them. The kernel asks a neighbour
// again only when it sends packets itself, and frames of XDP go past it. So after a failover without an announcement
// (gratuitous ARP, unsolicited neighbour advertisement) nothing would notice that no host receives these frames.

import type { Served } from '../model/live.ts'
import { addressTextsOf, backendSlotKey, everyBackend, slotKeysOf } from '../model/service.ts'
import { addressText } from '../plan/next-hops.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

export interface Asking {
  /** Asks the next hops of these live services from now on. */
  readonly follow: (served: Served) => void
  readonly stop: () => void
}

export interface AskingPorts {
  readonly scheduler: Scheduler
  /** Packets sent so far to the backends in these slots of a generation, by slot. */
  readonly packets: (generation: number, slots: readonly number[]) => Promise<ReadonlyMap<number, number>>
  /** Backends whose last check failed, by backendSlotKey: they get no packets, perhaps because their MAC address is old. */
  readonly failing: () => ReadonlySet<string>
  /** Asks the neighbours on the way to these addresses; at most `most` of them. */
  readonly ask: (addresses: readonly string[], most: number) => Promise<void>
}

/** Milliseconds from one round to the next. */
const ROUND = 1200
/** Reading counters takes at most one part in this many of the time, however many backends there are. */
const SHARE = 20
/** Neighbours asked in a round; further ones get their turn in later rounds. */
const MOST = 256

/** Slot → formatted address of every resolved backend. */
function addressesOf({
  services,
  slots,
  leaving,
}: Served): Map<number, { readonly key: string; readonly text: string }> {
  const found = new Map<number, { readonly key: string; readonly text: string }>()
  const add = (key: string, text: string): void => {
    const slot = slots.backends.get(key)
    if (slot !== undefined) found.set(slot, { key, text })
  }
  for (const service of services.values()) {
    const [keys, texts] = [slotKeysOf(service), addressTextsOf(service)]
    for (const [i, { nextHop }] of everyBackend(service).entries())
      if (nextHop) add(keys[i] as string, texts[i] as string)
  }
  for (const { service, backend } of leaving)
    if (backend.nextHop) add(backendSlotKey(service, backend), addressText(backend))
  return found
}

export function askNeighbours({ scheduler, packets, failing, ask }: AskingPorts): Asking {
  let served: Served | undefined
  /** Packets at the last round, by slot. */
  let before: ReadonlyMap<number, number> = new Map()
  let turn = 0
  let isStopped = false

  const round = async (): Promise<number> => {
    if (!served) return ROUND
    const began = scheduler.now()
    const backends = addressesOf(served)
    const now = await packets(served.generation, [...backends.keys()])
    const reading = scheduler.now() - began
    const failed = failing()
    const isUsed = (slot: number, key: string): boolean =>
      (now.get(slot) ?? 0) > (before.get(slot) ?? 0) || failed.has(key)
    const used = [...backends].flatMap(([slot, { key, text }]) => (isUsed(slot, key) ? [text] : []))
    before = now
    const texts = [...new Set(used)]
    turn = texts.length > MOST ? (turn + MOST) % texts.length : 0
    if (texts.length > 0 && !isStopped) await ask([...texts.slice(turn), ...texts.slice(0, turn)], MOST)
    return Math.max(ROUND - (scheduler.now() - began), SHARE * reading)
  }
  const alarm = createAlarm(scheduler, () => {
    // A failed reading, such as that of a generation which was just replaced, ends only its round.
    void round()
      .catch(() => ROUND)
      .then((wait) => {
        if (!isStopped && served) alarm.set(wait)
        else isRunning = false
      })
  })
  let isRunning = false

  return {
    follow(next) {
      served = next.services.size > 0 ? next : undefined
      if (!served || isRunning || isStopped) return
      isRunning = true
      alarm.set(ROUND)
    },
    stop() {
      isStopped = true
      alarm.clear()
    },
  }
}
