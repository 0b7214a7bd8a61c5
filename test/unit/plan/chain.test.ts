// Programs of others behind ours: what is planned for them, refused and warned of, without a kernel.

import { describe, expect, test } from 'vitest'
import { partsFor } from '../../../src/features/features.ts'
import type { InterfaceOptions } from '../../../src/model/desired.ts'
import type { AttachedProgram, Live, LiveChain } from '../../../src/model/live.ts'
import type { AttachMode, ChainedProgram } from '../../../src/model/state.ts'
import { needsGeneration } from '../../../src/pipelines/target.ts'
import { wordsFor } from '../../../src/plan/chain.ts'
import { guard } from '../../../src/plan/guard.ts'
import { plan, planDestroy } from '../../../src/plan/plan.ts'
import { desired, foreign, link, live, PROGRAM, state } from '../../support/states.ts'

const THEIRS: ChainedProgram = { id: 42, name: 'theirs', tag: 'a04f5eef06a7f555', pin: '/sys/fs/bpf/theirs' }
const SUCCESSOR: ChainedProgram = { ...THEIRS, id: 43 }
const CHAIN: Partial<InterfaceOptions> = { onConflict: 'chain' }

const attached = (facts: Partial<AttachedProgram> = {}): AttachedProgram =>
  foreign({ name: 'theirs', pin: '/sys/fs/bpf/theirs', ...facts })
const OURS = foreign({ id: 7, name: 'xdp_filter', generation: 1 })

const wanted = (modes: readonly AttachMode[] = ['native']) => state({ policy: 'pass', interfaces: { eth0: modes } })
const chained = (facts: Partial<LiveChain> = {}): LiveChain => ({
  program: THEIRS,
  held: THEIRS.id,
  next: THEIRS,
  words: ['pinned', '/ours'],
  ...facts,
})

/** eth0 runs ours, and behind it theirs. */
function running(chain: LiveChain = chained(), facts: Partial<Live> = {}): Live {
  const now = state({ program: PROGRAM, policy: 'pass', interfaces: { eth0: ['native'] } })
  const [name, attachment] = [...now.interfaces][0] as [string, never]
  return live({
    ...facts,
    state: { ...now, interfaces: new Map([[name, { ...(attachment as object), chain: chain.program } as never]]) },
    links: [link('eth0', { programs: [OURS] })],
    chains: new Map([['eth0', chain]]),
  })
}

/** eth0 runs theirs. */
const foreignOnly = (...programs: readonly AttachedProgram[]): Live =>
  live({ links: [link('eth0', { programs: programs.length > 0 ? programs : [attached()] })] })

const planned = (now: Live, options: Partial<InterfaceOptions> = CHAIN, file = wanted()) => {
  const made = plan(desired(file, { eth0: options }), now, PROGRAM)
  const change = made.changes.find(({ kind }) => kind === 'interface')
  return { made, change, chain: made.state.interfaces.get('eth0')?.chain }
}

const needs = ({ made }: ReturnType<typeof planned>, { chains }: Live): boolean =>
  needsGeneration(
    { ...made, slots: { ...made.slots, interfaces: new Map() } },
    { roles: [], scopedInterfaces: new Map(), chains },
  )

describe('a program on an interface with on_conflict: chain', () => {
  test('goes behind ours in one operation, with its identity', () => {
    const { made, change, chain } = planned(foreignOnly())
    expect(chain).toEqual(THEIRS)
    expect(change).toMatchObject({ op: 'create', impact: 'hitless', after: { chain: THEIRS } })
    expect(change?.displaces).toBeUndefined()
    expect(partsFor(made.state).get('chain')).toBe(true)
  })

  test('is found by its id, as no pin is known to be its own', () => {
    expect(wordsFor('eth0', THEIRS, foreignOnly())).toEqual(['id', '42'])
  })

  test('leaves the programs without the part while there is no other', () => {
    const { made, chain } = planned(live({ links: [link('eth0')] }))
    expect(chain).toBeUndefined()
    expect(partsFor(made.state).get('chain')).toBe(false)
  })

  test('stays through edits of the policy', () => {
    const now = running()
    expect(planned(now).made.changes).toEqual([])
    const { made, chain } = planned(now, CHAIN, state({ policy: 'drop', interfaces: { eth0: ['native'] } }))
    expect(made.changes.map(({ key }) => key)).toEqual(['policy'])
    expect(chain).toEqual(THEIRS)
    expect(wordsFor('eth0', THEIRS, now)).toEqual(['pinned', '/ours'])
  })

  test('takes the place of another that is behind ours, once its owner attaches it over ours', () => {
    const now = running()
    const over = { ...now, links: foreignOnly(attached({ id: 50, name: 'next' })).links }
    const { change, chain } = planned({ ...over, state: { ...over.state, interfaces: new Map() } })
    expect(chain).toMatchObject({ id: 50, name: 'next' })
    expect(change).toMatchObject({ op: 'create', impact: 'hitless' })
  })
})

describe('a program behind ours', () => {
  const DRIFTED = new Map([['interface:eth0', 'replaced by its owner']] as const)

  test('follows its owner, who has another at its pin', () => {
    const now = running(chained({ next: SUCCESSOR }), { drift: DRIFTED })
    const found = planned(now)
    expect(found.chain).toEqual(SUCCESSOR)
    expect(found.change).toMatchObject({ op: 'update', impact: 'hitless', reason: 'drift' })
    expect(wordsFor('eth0', SUCCESSOR, now)).toEqual(['pinned', '/sys/fs/bpf/theirs'])
    expect(needs(found, now)).toBe(true)
  })

  test('stays when its pin is removed', () => {
    const unpinned = { ...THEIRS, pin: undefined }
    const now = running(chained({ next: unpinned }), { drift: DRIFTED })
    const found = planned(now)
    expect(found.chain).toEqual(unpinned)
    expect(found.change).toMatchObject({ op: 'update', reason: 'drift' })
    expect(needs(found, now)).toBe(true)
    expect(wordsFor('eth0', unpinned, now)).toEqual(['pinned', '/ours'])
  })

  test('gets packets again from a new generation if its entry is gone', () => {
    const now = running(chained({ held: undefined }), { drift: DRIFTED })
    const found = planned(now)
    expect(found.chain).toEqual(THEIRS)
    expect(needs(found, now)).toBe(true)
  })

  test('ends with on_conflict: replace', () => {
    const found = planned(running(), { onConflict: 'replace' })
    expect(found.chain).toBeUndefined()
    expect(found.change).toMatchObject({ op: 'update', reason: 'config-changed', before: { chain: THEIRS } })
  })

  test('gets its interface back when that leaves the file, and by destroy: a swap without a gap', () => {
    const physical = running()
    const links = new Map([['eth0', { ...link('eth0', { kind: 'physical', programs: [OURS] }) }]])
    const now = { ...physical, links }
    const file = { ...wanted(), interfaces: new Map() }
    const gone = plan({ ...desired(file), options: new Map() }, now, PROGRAM)
    for (const { changes } of [gone, planDestroy(now)])
      expect(changes.find(({ kind }) => kind === 'interface')).toMatchObject({ op: 'delete', impact: 'hitless' })
  })

  test('is not ended without a word', () => {
    const refused = (now: Live) => guard(desired(wanted()), now).map(({ code }) => code)
    expect(refused(running())).toEqual(['E256'])
    expect(guard(desired(wanted(), { eth0: { onConflict: 'replace' } }), running())).toEqual([])
    expect(guard(desired(wanted(), { eth0: CHAIN }), running())).toEqual([])
  })
})

describe('a program that cannot run behind ours is refused:', () => {
  const refused = (now: Live, modes: readonly AttachMode[] = ['native'], options = CHAIN) =>
    guard(desired(wanted(modes), { eth0: options }), now).map(({ code, message, hint }) => [code, message, hint])

  test.each([
    ['in another mode', attached({ mode: 'generic' }), 'generic mode', 'write `mode: generic`'],
    ['in the hardware', attached({ mode: 'offload' }), 'hardware', 'detach xdpoffload dev eth0'],
    ['of another instance', attached({ name: 'xdp_filter' }), 'another --instance', 'apply --reclaim'],
    ['that calls others', attached({ name: 'xdp_dispatcher' }), 'would get no packets', 'LIBXDP_SKIP_DISPATCHER=1'],
  ])('%s', (_, program, why, hint) => {
    const found = refused(foreignOnly(program))
    expect(found).toMatchObject([['E255', expect.stringContaining(why), expect.stringContaining(hint)]])
  })

  test('one of two', () => {
    const found = refused(foreignOnly(attached(), attached({ id: 43 })))
    expect(found).toMatchObject([['E255', expect.stringContaining('program 43'), expect.stringContaining('detach')]])
  })

  test('not one in any of several modes', () => {
    expect(refused(foreignOnly(attached({ mode: 'generic' })), ['native', 'generic'])).toEqual([])
  })

  test('not one of ours that lost its pins, which --reclaim replaces', () => {
    const now = foreignOnly(attached({ name: 'xdp_filter' }))
    expect(refused(now, ['native'], { ...CHAIN, reclaims: true })).toEqual([])
    const { chain, change } = planned(now, { ...CHAIN, reclaims: true })
    expect(chain).toBeUndefined()
    expect(change?.displaces).toMatchObject([{ id: 42 }])
  })
})
