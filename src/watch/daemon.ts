// The daemon put together: files and kernel tell the loop that something may have changed, the loop reconciles, and
// whoever wants to know is told. Everything here lives from the start to the stop of one daemon.

import { statSync } from 'node:fs'
import type { Loaded } from '../config/load.ts'
import { fail, unexpected, XdpError } from '../diagnostics.ts'
import type { Kept } from '../kernel/host/memory.ts'
import type { KernelEvent } from '../kernel/host/monitor.ts'
import { serviceManager } from '../kernel/host/notify.ts'
import { askForUnresolved, haveMoved } from '../kernel/host/surroundings.ts'
import { openHealth } from '../kernel/live/health.ts'
import type { Desired } from '../model/desired.ts'
import type { Endpoint } from '../model/endpoint.ts'
import { detachInterfaces } from '../pipelines/apply.ts'
import type { Host } from '../pipelines/session.ts'
import { openWatcher, type Watcher } from '../pipelines/watched.ts'
import { feedFacts, type Surroundings } from '../report/stats.ts'
import type { WatchEvent, WatchState } from '../report/watch.ts'
import { type Book, openBook } from './book.ts'
import { type Checks, runChecks } from './checks.ts'
import { exposeMetrics } from './endpoint.ts'
import { type ConfigFile, openConfig } from './files/config-file.ts'
import { listenToFiles } from './files/file-events.ts'
import { followHops } from './hops.ts'
import { listenToKernel } from './kernel-events.ts'
import { type Loop, startLoop } from './loop.ts'
import { pipelineOf } from './pipeline.ts'
import { type Service, serve } from './service.ts'
import { createDebounce } from './time/debounce.ts'
import { createQueue } from './time/queue.ts'
import { limitRepeats, type Told } from './time/repeats.ts'
import { MONOTONIC } from './time/scheduler.ts'

export interface DaemonOptions {
  /** Its `signal` stops the daemon. */
  readonly host: Host
  /** Path of the config. */
  readonly path: string
  /** Beats the one of the config. */
  readonly debounceMs: number | undefined
  /** Where metrics are served; beats the config. */
  readonly metrics: Endpoint | undefined
  /** What is served there. */
  readonly collect: (surroundings: Surroundings) => Promise<string>
  /** Also tells where a bug of ours is. */
  readonly debug: boolean
  readonly tell: (event: Told) => void
  /** How things stand, in one line. */
  readonly describe: (state: WatchState) => string
  /** Calls the listener each time the daemon is asked to read its config anew. */
  readonly onHangup: (listener: () => void) => void
}

type Tell = (event: WatchEvent) => void

/** Others must not wait for the lock while somebody edits at leisure: only so short a pause is used to get ready. */
const SHORT = 1000
/** Events of interfaces come in bursts: one that is made gives half a dozen. In milliseconds. */
const BURST = 50

/** Events after which the way to a backend may be another one. */
const OF_WAYS = ['device', 'address', 'route', 'rule', 'nexthop'] as const

/** The first config must be one that can be used: whoever starts a daemon looks at what it says then. */
async function firstConfig(file: ConfigFile): Promise<Loaded> {
  const look = await file.look(true)
  if (look.kind === 'good') return look.loaded
  throw look.kind === 'bad' ? look.error : new Error('the first look at a config found nothing new')
}

/** Writes states down for other processes, each as soon as the one before is written; only the newest counts. */
function createWriter(watcher: Watcher): {
  readonly write: (state: WatchState) => void
  readonly close: () => Promise<void>
} {
  const queue = createQueue()
  let newest: WatchState | undefined
  return {
    close: queue.close,
    write(state) {
      const isQueued = newest !== undefined
      newest = state
      if (isQueued) return
      queue.add(async () => {
        const written = newest
        newest = undefined
        if (written) await watcher.tell(written)
      })
    },
  }
}

/** What hears of how things stand, and of what happens. */
interface Audience {
  readonly book: Book
  readonly tell: Tell
  readonly service: Service | undefined
  readonly close: () => Promise<void>
}

function gather(options: DaemonOptions, watcher: Watcher, busyMs: () => number): Audience {
  const scheduler = MONOTONIC
  const tell = limitRepeats(scheduler, options.tell)
  const manager = serviceManager((why) => tell({ event: 'trouble', what: `systemd cannot be notified: ${why}` }))
  const service = manager && serve({ scheduler, manager, describe: options.describe, busyMs })
  const writer = createWriter(watcher)
  const book = openBook(watcher.pid, Date.now, (state) => {
    writer.write(state)
    service?.tell(state)
  })
  return { book, tell, service, close: writer.close }
}

/** What only the daemon knows, for metrics. */
function surroundingsOf(book: Book, { config, feeds }: Desired, checks: Checks): Surroundings {
  const { reconciles, last, drift } = book.state()
  const { path, sha256 } = config
  const written = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  return {
    config: {
      path,
      sha256,
      modifiedAt: written === undefined ? undefined : Math.floor(written / 1000),
      valid: book.isConfigGood(),
    },
    feeds: feedFacts(feeds),
    reconcile: { reconciles, last },
    drifted: drift.map(({ key }) => key),
    checks: checks.counters(),
  }
}

/** What lives beside the loop, and goes by what is wanted: the endpoint of metrics, for one. */
export interface Companion {
  readonly follow: (desired: Desired) => void
  readonly close: () => Promise<void>
}

/** `wanted`: what is kept in force, whenever it is asked for. */
function companionsOf(
  options: DaemonOptions,
  { book, tell }: Audience,
  wanted: () => Desired,
  checks: Checks,
): readonly Companion[] {
  const collect = (): Promise<string> => options.collect(surroundingsOf(book, wanted(), checks))
  const metrics = exposeMetrics({ scheduler: MONOTONIC, collect, tell })
  return [{ follow: ({ watch }) => metrics.follow(options.metrics ?? watch.metrics), close: metrics.close }]
}

interface Running {
  readonly loop: Loop
  readonly stop: () => Promise<void>
}

/** Starts everything that listens, and the loop that it tells. */
function begin(first: Loaded, file: ConfigFile, options: DaemonOptions, audience: Audience): Running {
  const { book, tell } = audience
  const { debounceMs, debug } = options
  const host = quiet(options.host)
  const scheduler = MONOTONIC
  const pause = (): number => debounceMs ?? loop.wanted().watch.debounceMs
  const files = listenToFiles({
    scheduler,
    file,
    pause,
    onHint() {
      if (pause() <= SHORT) loop.expect()
    },
    onEdit: () => void loop.request('edit'),
    tell,
  })
  const lookAgain = (): void => void loop.request('kernel')
  const checks = runChecks({
    scheduler,
    map: openHealth(host),
    tell,
    onSummary: book.checked,
    onStale: lookAgain,
    clock: Date.now,
  })
  const hops = followHops({
    scheduler,
    haveMoved: (services) => haveMoved(services, host),
    ask: askForUnresolved,
    onMoved: lookAgain,
  })
  const companions = companionsOf(options, audience, () => loop.wanted(), checks)
  const onAdopt = (desired: Desired): void => {
    for (const { follow } of companions) follow(desired)
  }
  const loop: Loop = startLoop(first, {
    scheduler,
    file,
    book,
    tell,
    pipeline: pipelineOf(host),
    onLook: files.follow,
    onAdopt,
    onServed(served, desired) {
      checks.serve(served, desired)
      hops.follow(served)
    },
    explain(error) {
      if (error instanceof XdpError) return error
      if (debug && error instanceof Error) tell({ event: 'trouble', what: error.stack ?? error.message })
      return unexpected(error)
    },
  })
  const links = createDebounce(
    scheduler,
    () => BURST,
    () => void loop.request('links'),
  )
  const onTrouble = (what: string): void => {
    host.kept.ways = undefined
    tell({ event: 'trouble', what })
  }
  const onEvents = (kinds: ReadonlySet<KernelEvent>): void => {
    if (OF_WAYS.some((kind) => kinds.has(kind))) host.kept.ways = new Map()
    if (kinds.has('link')) links.touch()
    hops.touch()
  }
  const kernel = listenToKernel(['link', 'address', 'route', 'rule', 'nexthop', 'neighbour'], {
    scheduler,
    onEvents,
    onTrouble,
  })
  files.follow()
  onAdopt(first.desired)
  return {
    loop,
    async stop() {
      kernel.stop()
      links.cancel()
      hops.stop()
      await loop.stop()
      await checks.close()
      await files.stop()
      for (const { close } of companions) await close()
    },
  }
}

/** Without the line that tells a person what takes so long, and with a memory of what was applied last. */
const quiet = ({ bpffs, instance, lockTimeoutMs, cache, signal }: Host): Host & { readonly kept: Kept } => ({
  bpffs,
  instance,
  lockTimeoutMs,
  cache,
  kept: {},
  ...(signal && { signal }),
})

/** Settles when the signal is given, with what it was. */
const given = (signal: AbortSignal | undefined): Promise<string> =>
  new Promise((resolve) => {
    const tell = (): void => resolve(String(signal?.reason))
    if (signal?.aborted) tell()
    else signal?.addEventListener('abort', tell, { once: true })
  })

interface Started extends Running {
  readonly watcher: Watcher
  readonly audience: Audience
}

/** In a function of its own, which does not keep the first config from being forgotten. */
async function start(options: DaemonOptions): Promise<Started> {
  const { host, path } = options
  const file = openConfig(path, host.cache)
  const first = await firstConfig(file)
  const watcher = await openWatcher(host)
  const audience = gather(options, watcher, () => running.loop.busyMs())
  const running = begin(first, file, options, audience)
  audience.tell({ event: 'started', pid: watcher.pid, instance: host.instance, config: path })
  void running.loop.request('start')
  return { ...running, watcher, audience }
}

/**
 * Watches until the signal. Throws XdpError where it cannot begin: the config cannot be used, another daemon watches
 * the instance, or the host lacks something; and where it cannot go on.
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { loop, stop, watcher, audience } = await start(options)
  const { tell, service } = audience
  options.onHangup(() => {
    service?.reloading()
    void loop.request('reload').then(() => service?.reloaded())
  })
  const lost = watcher.lost.then(() => undefined)
  const reason = await Promise.race([given(options.host.signal), lost])
  tell({ event: 'stopping', reason: reason ?? 'the lock was lost' })
  await service?.stopping()
  await stop()
  try {
    await leave(options, loop, reason)
    tell({ event: 'stopped', attached: loop.wanted().watch.onStop === 'keep' })
  } finally {
    await audience.close()
    await watcher.release()
  }
}

/** What is left behind is what the config says, unless another daemon may be at work already. */
async function leave({ host }: DaemonOptions, loop: Loop, reason: string | undefined): Promise<void> {
  if (reason === undefined) {
    const message = 'the lock of this daemon was lost: the process that held it was killed'
    throw fail('E118', message, 'start the daemon again')
  }
  const { bpffs, instance, lockTimeoutMs } = host
  if (loop.wanted().watch.onStop === 'detach') {
    await detachInterfaces({ bpffs, instance, lockTimeoutMs }, loop.wanted())
  }
}
