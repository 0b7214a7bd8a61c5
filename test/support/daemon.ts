// A daemon without a host: its loop over files and a kernel that a test supplies, on the test's clock.

import type { Loaded } from '../../src/config/load.ts'
import { fail, unexpected, XdpError } from '../../src/diagnostics.ts'
import type { WatchOptions } from '../../src/model/desired.ts'
import { type Drift, type Link, type Served, servedOf } from '../../src/model/live.ts'
import type { Change, Plan } from '../../src/plan/change.ts'
import type { WatchEvent } from '../../src/report/watch.ts'
import { openBook } from '../../src/watch/book.ts'
import type { Look } from '../../src/watch/files/config-file.ts'
import { type Cause, type Loop, startLoop } from '../../src/watch/loop.ts'
import type { Pipeline } from '../../src/watch/reconciler.ts'
import { type Clock, createClock, settle } from './clock.ts'
import { slotsFor } from './slots.ts'
import { desired, link, live, state } from './states.ts'

/** A config that differs from others only by its name. */
export function config(name: string, watch: Partial<WatchOptions> = {}): Loaded {
  const base = desired(state({ interfaces: { eth0: ['native'] } }))
  const whole = { ...base, watch: { ...base.watch, ...watch }, config: { path: 'xdp.yaml', sha256: name } }
  return { desired: whole, warnings: [] }
}

/** The kernel: the config that it runs, and changes by other programs. */
export class FakeKernel implements Pipeline {
  runs = 'nothing'
  drift: Drift[] = []
  links = new Map<string, Link>([['eth0', link('eth0')]])
  /** Thrown by observations. */
  refusal: XdpError | undefined
  /** Thrown by applies. */
  failure: unknown
  /** Calls in order: `check`, `apply`, `applied NAME`, `declined`. */
  readonly calls: string[] = []
  /** An apply waits for this before it runs. */
  gate: Promise<void> = Promise.resolve()

  #plan(wanted: string): Plan {
    const edit = this.runs === wanted ? [] : [change('list:x', 'config-changed')]
    const changes = [...edit, ...this.drift.map(({ key }) => change(key, 'drift'))]
    const slots = slotsFor(state({}))
    return { state: state({}), changes, drift: this.drift, warnings: [], slots, leaving: [], deadlines: new Map() }
  }

  #live() {
    return live({ state: state({ interfaces: { eth0: ['native'] } }), links: [...this.links.values()] })
  }

  readonly check: Pipeline['check'] = async ({ config: { sha256 } }) => {
    this.calls.push('check')
    if (this.refusal) throw this.refusal
    const plan = this.#plan(sha256)
    return { plan, live: this.#live(), inSync: plan.changes.length === 0 }
  }

  readonly apply: Pipeline['apply'] = async ({ config: { sha256 } }, approve) => {
    this.calls.push('apply')
    this.isPrepared = false
    if (this.refusal) throw this.refusal
    const plan = this.#plan(sha256)
    const changed = plan.changes.length > 0
    if (changed && !(await approve(plan, this.#live()))) {
      this.calls.push('declined')
      return 'declined'
    }
    await this.gate
    if (this.failure) throw this.failure
    this.runs = sha256
    this.drift = []
    if (changed) this.calls.push(`applied ${sha256}`)
    const applied = plan.changes.map(({ key }) => key)
    const result = { changed, applied, verified: true, probes: { run: 1, passed: 1 }, rolled_back: false }
    return { plan, result, links: this.links, committed: undefined, served: servedOf(this.#live()) }
  }

  readonly served: Pipeline['served'] = async () => servedOf(this.#live())
  readonly attachments: Pipeline['attachments'] = async () => this.links

  /** Whether an apply was prepared, and neither used nor dismissed. */
  isPrepared = false
  readonly prepare: Pipeline['prepare'] = () => {
    this.isPrepared = true
  }
  readonly dismiss: Pipeline['dismiss'] = async () => {
    this.isPrepared = false
  }
}

const change = (key: Change['key'], reason: Change['reason']): Change =>
  ({ op: 'update', kind: key.startsWith('interface') ? 'interface' : 'list', key, reason, impact: 'hitless' }) as Change

export interface Daemon {
  readonly clock: Clock
  readonly kernel: FakeKernel
  readonly loop: Loop
  readonly events: WatchEvent[]
  /** Services that the checks were updated to. */
  readonly served: Served[]
  /** Returns the names of the events so far, and clears them. */
  readonly takeEvents: () => string[]
  readonly book: ReturnType<typeof openBook>
  /** Sets the result of the next look at the files, and notifies the loop. */
  readonly edit: (look: Look, ...causes: readonly Cause[]) => Promise<void>
}

export const good = (name: string, watch?: Partial<WatchOptions>): Look => ({
  kind: 'good',
  loaded: config(name, watch),
})
export const bad = (message: string): Look => ({ kind: 'bad', error: fail('E005', message) })

/** Starts the loop with a config `first`, and waits until it is idle. */
export async function startDaemon(
  first: Loaded,
  prepare: (kernel: FakeKernel) => void = () => undefined,
  choose: (loaded: Loaded) => Loaded = (loaded) => loaded,
): Promise<Daemon> {
  const clock = createClock()
  const kernel = new FakeKernel()
  prepare(kernel)
  const events: WatchEvent[] = []
  const served: Served[] = []
  let next: Look = { kind: 'same' }
  const book = openBook(1, clock.now, () => undefined)
  const loop = startLoop(first, {
    scheduler: clock,
    pipeline: kernel,
    book,
    emit: (event) => events.push(event),
    file: {
      async look() {
        const found = next
        next = { kind: 'same' }
        return found
      },
    },
    onLook: () => undefined,
    choose: async (loaded) => choose(loaded),
    onAdopt: () => undefined,
    onServed: (one) => served.push(one),
    explain: (error) => (error instanceof XdpError ? error : unexpected(error)),
  })
  void loop.request('start')
  await settle()
  return {
    clock,
    kernel,
    loop,
    events,
    served,
    book,
    takeEvents: () => events.splice(0).map(({ event }) => event),
    async edit(look, ...causes) {
      next = look
      for (const cause of causes.length > 0 ? causes : (['edit'] as const)) void loop.request(cause)
      await settle()
    },
  }
}
