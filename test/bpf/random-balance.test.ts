// Random services and packets: compares the loaded program with the model, in verdict, reason, service, backend and
// every output byte. A failure prints the seed; SEED=n repeats it.

import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { NO_SLOT } from '../../src/abi/generated.ts'
import { backendSlotKey } from '../../src/model/service.ts'
import { judge } from '../../src/semantics/judge.ts'
import { DataPlane, type Run } from '../support/bpf.ts'
import { wrongChecksums } from '../support/checksums.ts'
import { SEED, usually } from '../support/depth.ts'
import { networkPlace, outcomeOf } from '../support/forwarding.ts'
import { factsOf, isStray } from '../support/model.ts'
import { type Random, randomFrom, randomState } from '../support/random.ts'
import { randomBalancedFrame } from '../support/random-balance.ts'
import { arbitraryServices, balancing } from '../support/services.ts'
import { slotsFor } from '../support/slots.ts'

const STATES = usually(6, { thoroughly: 12 })
const PACKETS = 500
/** Protocols of ICMP and ICMPv6. */
const ICMP: readonly number[] = [1, 58]

let plane: DataPlane
let canSplit = false
beforeAll(async () => {
  plane = await DataPlane.apart()
})
afterAll(() => plane.close())

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

test(`program and model agree on ${STATES} sets of services, ${PACKETS} packets each, seed ${SEED}`, async () => {
  const random = randomFrom(SEED)
  const drawn = fc.sample(
    arbitraryServices.filter(({ services }) => services.length > 0),
    { numRuns: STATES, seed: SEED },
  )
  for (const [number, { services }] of drawn.entries()) {
    const filter = random.chance(0.5) ? randomState(random) : undefined
    const hash_key = random.chance(0.5) ? hexDigits(random, 32) : ''
    const state = balancing(services, {
      lists: [...(filter?.lists.values() ?? [])],
      policy: { default: filter?.policy?.default ?? 'pass', hash_key },
    })
    const slots = slotsFor(state)
    plane.forget()
    await plane.loadState(state)
    if (number === 0) canSplit = await plane.canSplit()
    const runs = Array.from({ length: PACKETS }, () => runOf(random, services))
    const explained = await plane.run(runs)
    const filtered = await plane.run(runs, 'filter')
    const wrong = runs.flatMap((run, i) => {
      const { frame, linear } = run
      const judged = judge(state, factsOf(frame), { socketless: isStray(frame) })
      const { service, backend } = judged.balanced ?? {}
      const explanation = explained[i]?.explanation
      const wanted = {
        verdict: judged.verdict,
        reason: judged.reason,
        service: service ? slots.services.get(service.name) : NO_SLOT,
        backend: service && backend ? slots.backends.get(backendSlotKey(service.name, backend)) : NO_SLOT,
        output: hex(outcomeOf(frame, judged, linear, { pools: slots.pools })),
      }
      const reported = {
        verdict: filtered[i]?.verdict,
        reason: explanation?.reason ?? wanted.reason,
        service: explanation?.service ?? wanted.service,
        backend: explanation?.backend ?? wanted.backend,
        output: hex(filtered[i]?.output ?? new Uint8Array()),
      }
      if (isDeepStrictEqual(reported, wanted)) return []
      return [{ frame: hex(frame), linear, reported, wanted, using: service?.name }]
    })
    expect(wrong.slice(0, 3), `seed ${SEED}, state ${number}`).toEqual([])
    const isSent = ({ verdict }: (typeof filtered)[number]): boolean => verdict === 'tx' || verdict === 'redirect'
    // A checksum in an error's quote behind the linear part is out of reach, and stays unchanged.
    const isSound = ({ frame, linear }: Run): boolean =>
      wrongChecksums(frame).length === 0 && (linear === undefined || !ICMP.includes(networkPlace(frame).protocol))
    const sound = filtered.filter((outcome, i) => isSent(outcome) && isSound(runs[i] as Run))
    const ports = new Set(services.map(({ guePort }) => guePort))
    for (const { output } of sound) {
      for (const port of ports) expect(wrongChecksums(output, port), `seed ${SEED}, state ${number}`).toEqual([])
    }
  }
})

const hexDigits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => random.below(16).toString(16)).join('')

function runOf(random: Random, services: Parameters<typeof randomBalancedFrame>[1]): Run {
  const frame = randomBalancedFrame(random, services)
  return canSplit && random.chance(0.15) ? { frame, linear: random.below(frame.length) } : { frame }
}
