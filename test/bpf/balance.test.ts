// Runs every packet of the balancer's tables: compares its reason, service and backend, and every output byte; then
// truncates it at every byte, and ends its linear part at every byte.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NO_SLOT } from '../../src/abi/generated.ts'
import { FORWARDING_MODES } from '../../src/features/forwarding/forwarding.ts'
import { backendSlotKey } from '../../src/model/service.ts'
import { judge } from '../../src/semantics/judge.ts'
import { DataPlane, type Run } from '../support/bpf.ts'
import { wrongChecksums } from '../support/checksums.ts'
import { sample } from '../support/depth.ts'
import { outcomeOf } from '../support/forwarding.ts'
import { factsOf } from '../support/model.ts'
import { slotsFor } from '../support/slots.ts'
import { BACKUPS, FORWARDING, LINKS, NO_BACKEND, REJECT, WHOLE_HOSTS } from './cases/balancing.ts'

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

/**
 * Suites whose packets are truncated at every byte: each mode with each family of the VIP. Processing of the packet does
 * not depend on the outer family, so the backends are of the other family if the mode permits that.
 */
const THOROUGH: ReadonlySet<string> = new Set([
  ...FORWARDING.filter(
    ({ forwarding, vip, family }) => vip !== family || !FORWARDING_MODES[forwarding].crossesFamilies,
  ).map(({ name }) => name),
  'any port by source, nat, IPv4',
  'any port by source, nat, IPv6',
  ...REJECT.map(({ name }) => name),
])

describe.each(sample([...FORWARDING, ...LINKS, ...WHOLE_HOSTS, NO_BACKEND, ...REJECT, BACKUPS], 2))(
  '$name',
  ({ name, state, cases }) => {
    const slots = slotsFor(state)
    const expected = (frame: Uint8Array) => judge(state, factsOf(frame))
    const slotOf = ({ balanced }: ReturnType<typeof expected>) => ({
      service: balanced?.service ? slots.services.get(balanced.service.name) : NO_SLOT,
      backend:
        balanced?.service && balanced.backend
          ? slots.backends.get(backendSlotKey(balanced.service.name, balanced.backend))
          : NO_SLOT,
    })

    beforeAll(async () => {
      await plane.loadState(state)
    })

    test('the model returns the expected reason, service and backend', () => {
      for (const { name, frame, reason, service } of cases) {
        const judged = expected(frame)
        expect({ name, reason: judged.reason, service: judged.balanced?.service?.name }).toEqual({
          name,
          reason,
          service,
        })
      }
    })

    test('the program returns the expected reason, service and backend', async () => {
      const outcomes = await plane.run(cases)
      const found = outcomes.map(({ verdict, explanation }, i) => ({
        name: cases[i]?.name,
        verdict,
        reason: explanation?.reason,
        service: explanation?.service,
        backend: explanation?.backend,
      }))
      expect(found).toEqual(
        cases.map(({ name, frame }) => {
          const judged = expected(frame)
          return { name, verdict: judged.verdict, reason: judged.reason, ...slotOf(judged) }
        }),
      )
    })

    test('the output has the expected bytes', async () => {
      const outcomes = await plane.run(cases, 'filter')
      for (const [i, { verdict, output }] of outcomes.entries()) {
        const { name, frame } = cases[i] as (typeof cases)[number]
        const judged = expected(frame)
        expect({ name, verdict, output: hex(output) }).toEqual({
          name,
          verdict: judged.verdict,
          output: hex(outcomeOf(frame, judged)),
        })
        if (verdict === 'tx' || verdict === 'redirect')
          expect({ name, wrong: wrongChecksums(output) }).toEqual({ name, wrong: [] })
      }
    })

    const compare = async (runs: readonly (Run & { readonly name: string })[]): Promise<void> => {
      const outcomes = await plane.run(runs, 'filter')
      const wrong = outcomes.flatMap(({ verdict, output }, i) => {
        const { name, frame, linear } = runs[i] as (typeof runs)[number]
        const judged = expected(frame)
        const bytes = outcomeOf(frame, judged, linear)
        if (verdict === judged.verdict && Buffer.compare(output, bytes) === 0) return []
        return [{ name, bytes: frame.length, linear, verdict, expected: judged.reason }]
      })
      expect(wrong.slice(0, 20)).toEqual([])
    }

    /** Lengths to truncate a frame to: every byte of its headers, and some of its payload. */
    const lengths = (frame: Uint8Array): number[] =>
      Array.from({ length: frame.length - 14 }, (_, i) => 14 + i).filter((length) => length < 130 || length % 97 === 0)

    /** Linear parts: down to nothing. */
    const splits = (frame: Uint8Array): number[] => [0, 1, 13, ...lengths(frame)]

    if (!THOROUGH.has(name)) return

    test('program and model agree on a frame truncated at any byte', async () => {
      await compare(
        cases.flatMap(({ name, frame }) =>
          lengths(frame).map((length) => ({ name, frame: frame.subarray(0, length) })),
        ),
      )
    })

    test('program and model agree on a linear part that ends at any byte', async (context) => {
      if (!(await plane.canSplit())) context.skip('this kernel cannot choose the linear part of a test packet')
      await compare(cases.flatMap(({ name, frame }) => splits(frame).map((linear) => ({ name, frame, linear }))))
    })
  },
)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
