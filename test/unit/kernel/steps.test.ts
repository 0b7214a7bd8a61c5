// Runs lists of steps over a fake kernel: they lead to the policy of the plan, no step is superfluous, and after a
// failure or kill at any step the old or the new policy is in force.

import { rmSync } from 'node:fs'
import { basename, join } from 'node:path'
// Most steps run without any I/O: tests let the runner's messages through between cases.
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  attachmentCodec,
  HEADER_LINES,
  INTERFACE_FLAG,
  type InterfaceEntry,
  interfaceEntryCodec,
} from '../../../src/abi/generated.ts'
import { BALANCER_MAPS } from '../../../src/features/balancer.ts'
import { PROGRAMS } from '../../../src/features/features.ts'
import { FILTER } from '../../../src/features/filter.ts'
import type { Step, StepKind } from '../../../src/features/step.ts'
import { execute, phasesOf, printSteps, runAside } from '../../../src/kernel/execute/execute.ts'
import { observe } from '../../../src/kernel/observe/observe.ts'
import { diff } from '../../../src/plan/diff.ts'
import { META_LINE } from '../../../src/tables/layout/layout.ts'
import { sample, usually } from '../../support/depth.ts'
import { type FakeKernel, type FakeLink, type FakeMap, refusal } from '../../support/fake-kernel.ts'
import { service } from '../../support/services.ts'
import { ANY, list, scoped, state } from '../../support/states.ts'
import { Lab } from '../../support/steps.ts'

// Exchange files go to /run, which only root may write.
const isRoot = process.getuid?.() === 0

const backends = (count: number): string[] => Array.from({ length: count }, (_, i) => `10.0.1.${i + 1}`)

/** Without a Maglev ring, which would make most of the lines. */
const FEW_LINES = { scheduler: 'random' } as const

/** Two interfaces, one list, one service with a source pool. */
const BEFORE = state({
  policy: 'pass',
  interfaces: { eth0: ['native'], eth1: ['native'] },
  lists: [
    list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24')),
    list('blocklist', 'old', scoped(ANY, '203.0.113.7')),
  ],
  services: [service('web', '192.0.2.10 80', { ...FEW_LINES, backends: backends(3), snatPool: ['192.0.2.20'] })],
})

/**
 * Removes eth1, adds eth2 (its driver refuses native), adds eth3 with a foreign program; removes one list and adds
 * another; lets the service outgrow its maps, and adds a second one.
 */
const AFTER = state({
  policy: 'pass',
  interfaces: { eth0: ['native'], eth2: ['native', 'generic'], eth3: ['native'] },
  lists: [
    list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24', '192.0.2.128/25')),
    list('allowlist', 'office', scoped(ANY, '203.0.113.9')),
  ],
  services: [
    service('web', '192.0.2.10 80', {
      ...FEW_LINES,
      backends: backends(70),
      snatPool: ['192.0.2.20', '192.0.2.21'],
    }),
    service('dns', '192.0.2.11 53', { ...FEW_LINES, protocol: 'udp', backends: ['10.0.2.1'] }),
  ],
})

/** One list, and one service. */
const SMALL = {
  policy: 'pass',
  lists: [list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24'))],
  services: [service('web', '192.0.2.10 80', { ...FEW_LINES, backends: backends(3) })],
} as const

let lab: Lab

beforeEach(() => {
  lab = new Lab()
  for (const [i, name] of ['eth0', 'eth1', 'eth3'].entries()) lab.kernel.addLink(name, i + 2)
  lab.kernel.addLink('eth2', 9, ['xdpdrv'])
})
afterEach(() => lab.close())

/** Makes BEFORE the live policy, and attaches a foreign program to eth3. */
async function begin(): Promise<void> {
  expect(await lab.apply(BEFORE)).toBe('ok')
  lab.kernel.addForeign('eth3')
}

/** A policy as text, without the time of its commit. */
const textOf = (lines: (line: number) => Uint8Array | undefined, count: number): string =>
  Array.from({ length: count }, (_, line) => {
    const bytes = line === META_LINE ? undefined : lines(line)
    return bytes?.some((byte) => byte !== 0) ? Buffer.from(bytes).toString('hex') : ''
  }).join()

const wholeText = ({ values, entries }: FakeMap): string => textOf((line) => values.get(line), entries)

type Image = Extract<Step, { kind: 'fill' }>['image']
/** Lists of steps run many times. */
const imageTexts = new WeakMap<Image, string>()

function imageText(image: Image): string {
  const known = imageTexts.get(image)
  if (known !== undefined) return known
  const bytes = (words: Uint32Array, line: number) => new Uint8Array(words.slice(line * 16, line * 16 + 16).buffer)
  const places = Object.entries(image.directory)
  const content = (line: number): Uint8Array | undefined => {
    if (line < HEADER_LINES) return bytes(image.header, line)
    const found = places.find(([, { first, lines }]) => first <= line && line < first + lines)
    if (!found) return undefined
    const [name, { first }] = found as [keyof typeof image.sections, { first: number }]
    return bytes(image.sections[name], line - first)
  }
  const text = textOf(content, image.lines)
  imageTexts.set(image, text)
  return text
}

/** The old and the new policy as text. */
function wholePolicies(kernel: FakeKernel, steps: readonly Step[]): Set<string> {
  const old = new Set(kernel.policies().flatMap(([, policy]) => policy ?? []))
  const fresh = steps.flatMap((step) => (step.kind === 'fill' ? [imageText(step.image)] : []))
  return new Set([...[...old].map(wholeText), ...fresh])
}

/** Fails if a packet could meet half a policy, no policy on a `kept` interface, or no counters. */
function watchTraffic(kernel: FakeKernel, steps: readonly Step[], kept: readonly string[]): void {
  const whole = wholePolicies(kernel, steps)
  const known = new Map<string, boolean>()
  const isWhole = (policy: FakeMap): boolean => {
    const edition = `${policy.id} ${policy.version}`
    const found = known.get(edition) ?? whole.has(wholeText(policy))
    known.set(edition, found)
    return found
  }
  kernel.after = () => {
    for (const [name, policy] of kernel.policies()) {
      if (policy && !isWhole(policy)) throw new Error(`${name} meets half a policy`)
      if (!policy && kept.includes(name)) throw new Error(`${name} is not filtered`)
      if (policy && !isRecorded(kernel, name)) throw new Error(`packets on ${name} are not counted`)
    }
  }
}

/** Whether the slot of an interface is recorded. */
function isRecorded(kernel: FakeKernel, name: string): boolean {
  const { ifindex } = kernel.links.get(name) as FakeLink
  const { values } = kernel.map(lab.session.paths.sharedMap(FILTER.maps.attachments))
  const records = [...values.values()].map((value) => attachmentCodec.decode(new DataView(value.slice().buffer)))
  return records.some((record) => record.name === name && record.ifindex === ifindex)
}

interface World {
  readonly name: string
  readonly arrange: (kernel: FakeKernel) => void
}

const attachments = (line: string): boolean => line.startsWith('net attach')

/** Reverses the verdicts of test packets from the first command that `begins` matches. */
function misjudge(kernel: FakeKernel, begins: (line: string) => boolean): void {
  let wrong = false
  const right = new Map(kernel.verdicts)
  kernel.before = (line) => {
    if (begins(line) && !wrong) {
      wrong = true
      for (const [frame, verdict] of right) kernel.verdicts.set(frame, verdict === 1 ? 2 : 1)
    }
  }
}

const isCommit = (line: string): boolean => /^map update .*gen-2\/policy key 2 /.test(line)

const failAt =
  (matches: (line: string) => boolean, which = 1) =>
  (kernel: FakeKernel): void => {
    let seen = 0
    kernel.before = (line) => {
      if (matches(line) && ++seen === which) throw refusal(16, 'Device or resource busy')
    }
  }

const lying =
  (claims: (line: string) => boolean) =>
  (kernel: FakeKernel): void => {
    kernel.lies = claims
  }

const WORLDS: readonly World[] = [
  { name: 'all is well', arrange: () => undefined },
  { name: 'lines reach the map damaged', arrange: (kernel) => kernel.damageLines() },
  { name: 'the new program misjudges', arrange: (kernel) => misjudge(kernel, () => true) },
  { name: 'the live program misjudges', arrange: (kernel) => misjudge(kernel, attachments) },
  {
    name: 'another process replaced a program since the plan was made',
    arrange: (kernel) => kernel.steal('eth0'),
  },
  {
    name: 'another process replaces a program during the switch',
    arrange: (kernel) => {
      kernel.before = (line) => {
        if (attachments(line) && line.includes('dev eth2')) kernel.steal('eth3')
      }
    },
  },
  {
    name: 'the new program drops the default gateway',
    arrange: (kernel) => {
      kernel.gateway = { address: '198.51.100.1', device: 'eth0', droppedBy: 'gen-2/programs/explain' }
    },
  },
  { name: 'a program is not pinned', arrange: lying((line) => /loadall.*explain/.test(line)) },
  { name: 'the second attach is refused', arrange: failAt(attachments, 3) },
  { name: 'the replacement is refused', arrange: failAt((line) => attachments(line) && line.includes('dev eth0')) },
  {
    name: 'the commit is refused',
    arrange: failAt(isCommit),
  },
  {
    name: 'a program vanishes during its verification',
    arrange: (kernel) => {
      let attached = false
      kernel.before = (line) => {
        attached ||= attachments(line) && line.includes('dev eth0')
        if (attached && line.startsWith('ip')) kernel.links.get('eth0')?.programs.splice(0)
      }
    },
  },
]

/** The live policy BEFORE and the steps to AFTER, to run repeatedly. */
interface Rehearsal {
  readonly steps: readonly Step[]
  /** Restores the kernel to the state before the steps. */
  readonly rewind: () => void
}

async function rehearse(): Promise<Rehearsal> {
  await begin()
  const { kernel, session } = lab
  // Non-zero counters show whether those of new owners are zeroed.
  for (const name of ['list_stats', 'verdict_stats']) fillCounters(kernel, `${session.paths.shared}/${name}`)
  for (const name of ['service_stats', 'backend_stats']) fillCounters(kernel, `${session.paths.generation(1)}/${name}`)
  const steps = await lab.steps(AFTER)
  const verdicts = new Map(kernel.verdicts)
  const restore = kernel.snapshot()
  return {
    steps,
    rewind: () => {
      restore()
      kernel.journal.length = 0
      kernel.effects.length = 0
      kernel.damagesLines = false
      kernel.before = () => undefined
      kernel.lies = () => false
      kernel.held.length = 0
      kernel.gateway = undefined
      for (const [frame, verdict] of verdicts) kernel.verdicts.set(frame, verdict)
    },
  }
}

function fillCounters(kernel: FakeKernel, pin: string): void {
  const { values, valueSize, entries } = kernel.map(pin)
  for (let key = 0; key < Math.min(entries, 300); key++) values.set(key, new Uint8Array(valueSize).fill(7))
}

/** Worlds in which another process takes eth0. */
const INTERFERING = [
  'another process replaced a program since the plan was made',
  'a program vanishes during its verification',
]

/** Runs a list of steps in a world; returns its end and everything that it left. */
async function outcome({ rewind }: Rehearsal, world: World, steps: readonly Step[]): Promise<string> {
  rewind()
  const { kernel } = lab
  if (!INTERFERING.includes(world.name)) watchTraffic(kernel, steps, ['eth0'])
  world.arrange(kernel)
  const code = await lab.run(steps).catch((error: Error) => `violation: ${error.message}`)
  kernel.after = () => undefined
  const net = kernel.journal.filter((line) => line.startsWith('net'))
  return JSON.stringify({ code, net, effects: kernel.effects, state: kernel.fingerprint() })
}

/** The object of a step: steps of one kind and object are alike. */
const subject = (step: Step): string => {
  if (step.kind === 'zero-counter') return step.map
  if (step.kind === 'make-map') return step.pin
  return 'map' in step ? step.map : step.kind
}

/** Indices of steps to try: the first of those that are alike, and thoroughly also the last. */
function representative(steps: readonly Step[]): number[] {
  const groups = new Map<string, number[]>()
  for (const [i, step] of steps.entries()) {
    const group = `${step.kind} ${subject(step)}`
    groups.set(group, [...(groups.get(group) ?? []), i])
  }
  const chosen = [...groups.values()].flatMap(
    (all) => usually([all[0]], { thoroughly: [...new Set([all[0], all.at(-1)])] }) as number[],
  )
  return chosen.sort((left, right) => left - right)
}

/** Neighbours whose order does not matter to traffic, each with the reason. All other swaps must be noticed. */
const COMMUTING: readonly (readonly [StepKind, StepKind, why: string])[] = [
  ['make-map', 'make-map', 'maps do not depend on each other'],
  ['make-map', 'hand-on-map', 'maps do not depend on each other'],
  ['hand-on-map', 'make-map', 'maps do not depend on each other'],
  ['hand-on-map', 'hand-on-map', 'maps do not depend on each other'],
  ['make-map', 'prepare-object', 'an object does not depend on maps'],
  ['hand-on-map', 'prepare-object', 'an object does not depend on maps'],
  ['prepare-object', 'prepare-object', 'objects do not depend on each other'],
  ['prepare-object', 'load', 'neighbours of these kinds have different objects'],
  ['load', 'load', 'they run concurrently'],
  ['load', 'fill', 'the concurrently loaded object does not fill'],
  ['prove-tables', 'prove-verdicts', 'both only verify'],
  ['prove-verdicts', 'identify', 'neither changes anything'],
  ['identify', 'unpin', 'the filter stays pinned'],
  ['unpin', 'prove-pins', 'the program is not among these pins'],
  ['prove-pins', 'unpin', 'the program is not among these pins'],
  ['prove-pins', 'load-carry', 'they work on different pins'],
  ['carry', 'prove-contacts', 'the new maps are removed with their generation'],
  ['prove-pins', 'prove-contacts', 'neither changes anything'],
  ['carry', 'zero-counter', 'ports and counters are different maps'],
  ['zero-counter', 'zero-counter', 'counters do not depend on each other'],
  ['zero-counter', 'write-health', 'counters and health are different maps'],
  ['write-health', 'keep-foreign', 'they work on different objects'],
  ['keep-foreign', 'record', 'they work on different objects'],
  ['record', 'record', 'no packet is counted by them yet'],
  ['record', 'check-interfaces', 'a record without an interface counts nothing'],
  ['attach', 'attach', 'interfaces are independent'],
  ['attach', 'replace', 'interfaces are independent'],
  ['unpin', 'commit', 'programs that carried counters have no further effect'],
  ['claim-health', 'detach', 'health does not depend on interfaces'],
  ['forget', 'forget', 'no packet is counted by them any more'],
  ['forget', 'free', 'records and pins are different objects'],
  ['free', 'free', 'pins do not depend on each other'],
]

/** Whether a changed list ends differently in any world. */
async function isNoticed(rehearsal: Rehearsal, changed: readonly Step[], ends: readonly string[]): Promise<boolean> {
  for (const [i, world] of WORLDS.entries()) if ((await outcome(rehearsal, world, changed)) !== ends[i]) return true
  return false
}

const CODES: Readonly<Record<string, string>> = {
  'all is well': 'ok',
  'lines reach the map damaged': 'E108',
  'the new program misjudges': 'E108',
  'the live program misjudges': 'E108',
  'another process replaced a program since the plan was made': 'E206',
  'another process replaces a program during the switch': 'E206',
  'the new program drops the default gateway': 'E227',
  'a program is not pinned': 'E108',
  'the second attach is refused': 'E101',
  'the replacement is refused': 'E101',
  'the commit is refused': 'E101',
  'a program vanishes during its verification': 'E108',
}

describe.runIf(isRoot)('a list of steps', () => {
  test('leads to a policy from nothing, and from there to another', async () => {
    await begin()
    expect(await lab.apply(AFTER)).toBe('ok')
    const live = await observe(lab.session.paths, {})
    expect([...live.state.interfaces].map(([name, { modes }]) => [name, ...modes])).toEqual([
      ['eth0', 'native'],
      ['eth3', 'native'],
      ['eth2', 'generic'],
    ])
    expect([...live.drift]).toEqual([])
    expect(live.leftovers).toEqual([])
    expect([...live.state.lists.keys()].sort()).toEqual(['blocklist', 'office'])
    // The backends have no next hops in this kernel, on either side.
    const { program, services } = live.state
    expect(diff({ ...AFTER, program, services }, live)).toEqual([])
  })

  test('contains every kind of step, in order', async () => {
    await begin()
    const steps = await lab.steps(AFTER)
    const kinds = steps.map(({ kind }) => kind).filter((kind, i, all) => kind !== all[i - 1])
    expect(kinds).toMatchInlineSnapshot(`
      [
        "make-generation",
        "make-map",
        "hand-on-map",
        "make-map",
        "hand-on-map",
        "prepare-object",
        "load",
        "fill",
        "prove-tables",
        "prove-verdicts",
        "identify",
        "unpin",
        "prove-pins",
        "unpin",
        "load-carry",
        "carry",
        "prove-contacts",
        "zero-counter",
        "write-health",
        "keep-foreign",
        "record",
        "check-interfaces",
        "attach",
        "replace",
        "verify",
        "carry",
        "unpin",
        "commit",
        "claim-health",
        "detach",
        "forget",
        "free",
      ]
    `)
    const { switching, tidying } = phasesOf(steps)
    expect([steps[switching]?.kind, steps[tidying - 1]?.kind]).toEqual(['zero-counter', 'commit'])
  })

  test('makes the secret of flows once: it is random, is never printed, and outlives edits', async () => {
    const first = await lab.steps(BEFORE)
    const secretOf = (generation: number): Buffer => {
      const { values } = lab.kernel.map(lab.session.paths.ownMap(generation, { name: BALANCER_MAPS.flowKeys }))
      return Buffer.from(values.get(0) ?? [])
    }
    const at = first.findIndex(({ kind }) => kind === 'fill-random')
    expect(first[at - 1]).toMatchObject({ kind: 'make-map', shape: { name: BALANCER_MAPS.flowKeys } })
    await begin()
    const secret = secretOf(1)
    expect(secret.some((byte) => byte !== 0)).toBe(true)
    const printed = (steps: readonly Step[]): string => printSteps(steps).join('\n')
    expect(printed(first)).toContain('flow_keys key 0 0 0 0 value hex RANDOM  # 64 bytes')
    const second = await lab.steps(AFTER)
    expect(second.some(({ kind }) => kind === 'fill-random')).toBe(false)
    expect(await lab.run(second)).toBe('ok')
    // The flow table is another one, of another size; full NAT keeps its ports.
    expect(secretOf(2)).toEqual(secret)
  })

  test('that dies before the secret is random leaves none that an apply would use', async () => {
    const steps = await lab.steps(BEFORE)
    lab.kernel.before = (line) => {
      if (line.includes('flow_keys key')) throw refusal(16, 'Device or resource busy')
    }
    expect(await lab.run(steps)).not.toBe('ok')
    lab.kernel.before = () => undefined
    expect(await lab.apply(BEFORE)).toBe('ok')
    expect(lab.kernel.fingerprint()).toContain('flow_keys",\n   "secret"')
  })

  test('needs each of its steps, in this order', async () => {
    const rehearsal = await rehearse()
    const { steps } = rehearsal
    const ends: string[] = []
    for (const world of WORLDS) ends.push(await outcome(rehearsal, world, steps))
    expect(Object.fromEntries(WORLDS.map(({ name }, i) => [name, JSON.parse(ends[i] as string).code]))).toEqual(CODES)
    const missed: string[] = []
    for (const i of sample(representative(steps), 12)) {
      await setImmediate()
      const [step, next] = steps.slice(i, i + 2) as [Step, Step | undefined]
      if (!(await isNoticed(rehearsal, steps.toSpliced(i, 1), ends))) missed.push(`without ${describeStep(step)}`)
      if (!next || COMMUTING.some(([left, right]) => left === step.kind && right === next.kind)) continue
      const swapped = steps.toSpliced(i, 2, next, step)
      if (!(await isNoticed(rehearsal, swapped, ends)))
        missed.push(`${describeStep(step)} swapped with ${describeStep(next)}`)
    }
    expect(missed).toEqual([])
  })

  test('rolls back if any command fails before the commit, and keeps the new policy after it', async () => {
    const { steps, rewind } = await rehearse()
    const { kernel } = lab
    rewind()
    // A rollback does not restore zeroed counters of slots without an owner.
    const fingerprint = (): string => kernel.fingerprint(COUNTERS)
    const before = fingerprint()
    const commands: string[] = []
    kernel.before = (line) => void commands.push(line)
    expect(await lab.run(steps)).toBe('ok')
    const wanted = (): unknown[] =>
      kernel.policies().flatMap(([name, policy]) => (AFTER.interfaces.has(name) ? [[name, policy?.id]] : []))
    const after = wanted()
    const alike = new Map<string, number>()
    for (const [i, line] of commands.entries()) alike.set(line.replace(/ key .*|\d+/g, ''), i)
    const points = usually([...alike.values()], { thoroughly: [...commands.keys()] })
    for (const failing of sample(points, 12)) {
      await setImmediate()
      rewind()
      kernel.count = 0
      let failed = ''
      kernel.before = (line, number) => {
        if (number !== failing) return
        failed = line
        throw refusal(5, 'Input/output error')
      }
      watchTraffic(kernel, steps, ['eth0'])
      const code = await lab.run(steps)
      kernel.after = () => undefined
      if (code === 'E111') expect(wanted(), failed).toEqual(after)
      else expect([code, fingerprint()], failed).toEqual(['E101', before])
    }
  })

  test('ends as it should, or rolls back, if bpftool only claims to run a command', async () => {
    const { steps, rewind } = await rehearse()
    const { kernel } = lab
    rewind()
    const fingerprint = (): string => kernel.fingerprint(COUNTERS)
    const before = fingerprint()
    const commands: string[] = []
    kernel.before = (line) => void (line.startsWith('ip') || commands.push(line))
    expect(await lab.run(steps)).toBe('ok')
    const after = fingerprint()
    const wanted = (): unknown[] =>
      kernel.policies().flatMap(([name, policy]) => (AFTER.interfaces.has(name) ? [[name, policy?.name]] : []))
    const live = wanted()
    const alike = new Map(commands.map((line) => [line.replace(/ key .*|\d+/g, ''), line]))
    const claims = usually([...alike.values()], { thoroughly: [...new Set(commands)] })
    for (const claimed of sample(claims, 12)) {
      rewind()
      watchTraffic(kernel, steps, ['eth0'])
      kernel.lies = (line) => line === claimed
      const code = await lab.run(steps)
      kernel.after = () => undefined
      if (code === 'ok') expect(fingerprint(), claimed).toBe(after)
      else if (code === 'E111') expect(wanted(), claimed).toEqual(live)
      else expect([code, fingerprint()], claimed).toEqual([expect.stringMatching(/^E1(?:01|08|31)$/), before])
    }
  })

  test('attaches a program again that another process attached at the moment of the replacement', async () => {
    const { steps, rewind } = await rehearse()
    const { kernel, session } = lab
    rewind()
    kernel.before = (line) => {
      if (line === 'net show dev eth0') kernel.steal('eth0')
    }
    await expect(execute(session.host, session.paths, steps)).rejects.toThrow(
      /E206 another process attached program \d+ to eth0 during the apply: it is attached again/,
    )
    expect(kernel.links.get('eth0')?.programs.map(({ program }) => program.name)).toEqual(['foreign'])
    // Without its owner the kernel has freed it.
    rewind()
    kernel.before = (line) => {
      if (line !== 'net show dev eth0') return
      kernel.steal('eth0')
      kernel.held.length = 0
    }
    await expect(execute(session.host, session.paths, steps)).rejects.toThrow('could not be attached again')
  })

  test('converges after a kill at any step', async () => {
    const { steps, rewind } = await rehearse()
    const { kernel, session } = lab
    rewind()
    expect(await lab.run(steps)).toBe('ok')
    const reached = kernel.pins().map((pin) => pin.replace(/gen-\d+/, 'gen-N'))
    const firsts = [...steps.keys()].filter((i) => steps[i]?.kind !== steps[i - 1]?.kind)
    const points = usually(firsts, { thoroughly: [...steps.keys()] })
    for (const killed of sample(points, 12)) {
      await setImmediate()
      rewind()
      watchTraffic(kernel, steps, ['eth0'])
      await runAside(session.host, session.paths, steps.slice(0, killed))
      kernel.after = () => undefined
      const where = describeStep(steps[killed] as Step)
      expect(await lab.apply(AFTER), where).toBe('ok')
      const live = await observe(session.paths, {})
      expect([[...live.drift], live.leftovers], where).toEqual([[], []])
      expect(
        kernel.pins().map((pin) => pin.replace(/gen-\d+/, 'gen-N')),
        where,
      ).toEqual(reached)
      const { program, services } = live.state
      expect(diff({ ...AFTER, program, services }, live), where).toEqual([])
    }
  })
})

describe.skipIf(!isRoot)('members of a bond', () => {
  const { MEMBER } = INTERFACE_FLAG

  /** The entries of the index, by ifindex. */
  function entries(): InterfaceEntry[] {
    const { values } = lab.kernel.map(lab.session.paths.sharedMap(FILTER.maps.interfaceIndex))
    const all = [...values.values()].map((value) => interfaceEntryCodec.decode(new DataView(value.slice().buffer)))
    return all.filter(({ ifindex }) => ifindex !== 0).sort((left, right) => left.ifindex - right.ifindex)
  }

  const enslave = (name: string, master: string | undefined): void => {
    const link = lab.kernel.links.get(name) as FakeLink
    link.master = master
  }

  test('count for it; one that joins or leaves is drift, which the next apply repairs', async () => {
    const wanted = state({ policy: 'pass', interfaces: { bond0: ['native'] } })
    lab.kernel.addLink('bond0', 20, [], 'bond')
    enslave('eth0', 'bond0')
    expect(await lab.apply(wanted)).toBe('ok')
    const bond = { ifindex: 20, slot: 1, flags: 0 }
    expect(entries()).toEqual([{ ifindex: 2, slot: 1, flags: MEMBER }, bond])
    const driftNow = async () => [...(await observe(lab.session.paths, {})).drift]
    expect(await driftNow()).toEqual([])

    enslave('eth1', 'bond0')
    expect(await driftNow()).toEqual([['interface:bond0', 'packets of its member eth1 are not counted for it']])
    expect(await lab.apply(wanted)).toBe('ok')
    expect(entries()).toEqual([{ ifindex: 2, slot: 1, flags: MEMBER }, { ifindex: 3, slot: 1, flags: MEMBER }, bond])
    expect(await driftNow()).toEqual([])

    enslave('eth0', undefined)
    expect(await driftNow()).toEqual([['interface:bond0', 'eth0 is no longer its member but still counts for it']])
    expect(await lab.apply(wanted)).toBe('ok')
    expect(entries()).toEqual([{ ifindex: 3, slot: 1, flags: MEMBER }, bond])

    expect(await lab.apply(state({ policy: 'pass', interfaces: { eth0: ['native'] } }))).toBe('ok')
    expect(entries()).toEqual([{ ifindex: 2, slot: 2, flags: 0 }])
  })
})

/** Programs and maps whose pins another process may remove. */
const LOSABLE = [
  ['policy'],
  ['programs/xdp_filter'],
  ['programs/explain'],
  ['programs/table_read'],
  ['programs/table_digest'],
  ['programs/table_write', 'programs/stats_read', 'programs/ban_write'],
  ['flows', 'service_stats'],
  ['policy', 'programs/xdp_filter'],
  [
    'policy',
    'flows',
    'snat_ports',
    ...PROGRAMS.filter((name) => name !== 'ban_count').map((name) => `programs/${name}`),
  ],
]

describe.runIf(isRoot).each(LOSABLE)('a live generation without the pin of %s', (...names) => {
  test('is drift and ours, and the next apply repairs it in place', async () => {
    const wanted = state({ ...SMALL, interfaces: { eth0: ['native'], eth1: ['native'] } })
    expect(await lab.apply(wanted)).toBe('ok')
    const { kernel, session } = lab
    const { paths } = session
    const pins = kernel.pins()
    const flows = kernel.map(paths.ownMap(1, { name: 'flows' })).id
    const slots = (await observe(paths, {})).slots
    for (const name of names) rmSync(join(paths.generation(1), name))
    const live = await observe(paths, {})
    expect(live.generation).toBe(1)
    expect([...live.drift.keys()]).toEqual(['program'])
    for (const name of names) expect(live.drift.get('program')).toContain(basename(name))
    expect([live.leftovers, live.slots]).toEqual([[], slots])
    const steps = await lab.steps(wanted)
    const before = kernel.fingerprint()
    kernel.journal.length = 0
    watchTraffic(kernel, steps, ['eth0', 'eth1'])
    // A failed repair leaves everything as it was.
    kernel.lies = isCommit
    expect([await lab.run(steps), kernel.fingerprint()]).toEqual(['E108', before])
    kernel.lies = () => false
    expect(await lab.run(steps)).toBe('ok')
    kernel.after = () => undefined
    expect(kernel.journal.filter((line) => line.startsWith('net detach'))).toEqual([])
    expect(kernel.pins().map((pin) => pin.replace('gen-2', 'gen-1'))).toEqual(pins)
    expect(kernel.map(paths.ownMap(2, { name: 'flows' })).id).toBe(flows)
    const repaired = await observe(paths, {})
    expect([[...repaired.drift], repaired.leftovers, repaired.slots]).toEqual([[], [], slots])
  })
})

test.runIf(isRoot)('pins of a generation that no interface runs are leftovers', async () => {
  expect(await lab.apply(state({ ...SMALL, interfaces: { eth0: ['native'] } }))).toBe('ok')
  const { kernel, session } = lab
  rmSync(join(session.paths.generation(1), 'policy'))
  kernel.links.get('eth0')?.programs.splice(0)
  const live = await observe(session.paths, {})
  expect([live.generation, live.leftovers]).toEqual([0, [session.paths.generation(1)]])
})

const COUNTERS = ['list_stats', 'verdict_stats', 'service_stats', 'backend_stats']

const describeStep = (step: Step): string => `${step.kind} (${printSteps([step])[0] ?? ''})`
