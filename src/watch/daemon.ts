// Wires the daemon together: events of files and of the kernel wake the loop, the loop reconciles, and its events go to
// the log, the service manager and `xdp status`. Everything here lives from the start to the stop of one daemon.

import { statSync } from 'node:fs'
import type { Loaded } from '../config/load.ts'
import { DEFAULT_COPIES } from '../config/text/remote.ts'
import type { Trust } from '../config/text/trust.ts'
import { fail, unexpected, XdpError } from '../diagnostics.ts'
import { openStore } from '../fetch/store.ts'
import type { Kept } from '../kernel/host/memory.ts'
import type { KernelEvent } from '../kernel/host/monitor.ts'
import { serviceManager } from '../kernel/host/notify.ts'
import { readOwnAddresses } from '../kernel/host/protect.ts'
import { openStandings } from '../kernel/host/standings.ts'
import { haveNextHopsChanged, requestUnresolved, verifyHops } from '../kernel/host/surroundings.ts'
import { openCheckPath } from '../kernel/live/check-path.ts'
import { openHealth } from '../kernel/live/health.ts'
import { readBackendPackets } from '../kernel/live/service-counters.ts'
import type { AllowedCuts } from '../model/contact.ts'
import type { Desired } from '../model/desired.ts'
import type { Endpoint } from '../model/endpoint.ts'
import { detachInterfaces } from '../pipelines/apply.ts'
import type { Host } from '../pipelines/session.ts'
import { openWatcher, type Watcher } from '../pipelines/watched.ts'
import { NONE_ACCEPTED } from '../plan/feeds.ts'
import { feedFacts, type Surroundings } from '../report/stats.ts'
import type { WatchEvent, WatchState } from '../report/watch.ts'
import { keepBans } from './ban-keeper.ts'
import { type Book, openBook } from './book.ts'
import { type Checks, runChecks } from './checks.ts'
import { type Control, tryControl } from './control.ts'
import { exposeMetrics } from './endpoint.ts'
import { type ConfigFile, openConfig } from './files/config-file.ts'
import { listenToFiles } from './files/file-events.ts'
import { firstConfig } from './first-config.ts'
import { followHops } from './hops.ts'
import { listenToKernel } from './kernel-events.ts'
import { banOffenders } from './limit-bans.ts'
import { type Loop, startLoop } from './loop.ts'
import { askNeighbours } from './neighbours.ts'
import { pipelineOf } from './pipeline.ts'
import { followRollbacks } from './rollbacks.ts'
import { type Service, serve } from './service.ts'
import { followSources, type Sources } from './sources.ts'
import { createWriter } from './state-file.ts'
import { createDebounce } from './time/debounce.ts'
import { type Emitted, limitRepeats } from './time/repeats.ts'
import { MONOTONIC } from './time/scheduler.ts'
import { given } from './time/signal.ts'

export interface DaemonOptions {
  /** Its `signal` stops the daemon. */
  readonly host: Host
  /** Path of the config. */
  readonly path: string
  /** Which files may be used; by default all. */
  readonly trust?: Trust
  /** Guarded peers that an apply may cut. */
  readonly allowedCuts: AllowedCuts
  /** Overrides watch.debounce of the config. */
  readonly debounceMs: number | undefined
  /** Where to serve metrics; overrides watch.metrics of the config. */
  readonly metrics: Endpoint | undefined
  /** Makes the text that the endpoint serves. */
  readonly collect: (surroundings: Surroundings) => Promise<string>
  /** Also logs the stack of an unexpected error. */
  readonly debug: boolean
  readonly emit: (event: Emitted) => void
  /** The state in one line. */
  readonly describe: (state: WatchState) => string
  /** Calls the listener on each request to reload the config. */
  readonly onHangup: (listener: () => void) => void
}

type Emit = (event: WatchEvent) => void

/** Other processes must not wait for the lock through a long pause: an apply is prepared in a pause of so many milliseconds. */
const SHORT = 1000
/** Link events come in bursts: creating one interface makes half a dozen. In milliseconds. */
const BURST = 50

/** Events that may change the next hop of a backend. */
const NEXT_HOP_EVENTS = ['device', 'address', 'route', 'rule', 'nexthop'] as const

interface Audience {
  readonly book: Book
  readonly emit: Emit
  readonly service: Service | undefined
  readonly close: () => Promise<void>
}

function gather(options: DaemonOptions, watcher: Watcher, busyMs: () => number): Audience {
  const scheduler = MONOTONIC
  const emit = limitRepeats(scheduler, options.emit)
  const manager = serviceManager((why) => emit({ event: 'trouble', what: `systemd cannot be notified: ${why}` }))
  const service = manager && serve({ scheduler, manager, describe: options.describe, busyMs })
  const writer = createWriter(watcher)
  const book = openBook(watcher.pid, Date.now, (state) => {
    writer.write(state)
    service?.update(state)
  })
  return { book, emit, service, close: writer.close }
}

/** The facts for metrics that only the daemon knows. */
function surroundingsOf(book: Book, { config, feeds }: Desired, checks: Checks, sources: Sources): Surroundings {
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
    copies: sources.facts(),
    reconcile: { reconciles, last },
    drifted: drift.map(({ key }) => key),
    checks: checks.counters(),
  }
}

/** A part that lives beside the loop and follows the wanted config, such as the metrics endpoint. */
export interface Companion {
  readonly follow: (desired: Desired) => void
  readonly close: () => Promise<void>
}

/** `wanted` returns the config that the daemon keeps in force. */
function companionsOf(
  options: DaemonOptions,
  { book, emit }: Audience,
  wanted: () => Desired,
  checks: Checks,
  sources: Sources,
  host: Host,
): readonly Companion[] {
  const collect = (): Promise<string> => options.collect(surroundingsOf(book, wanted(), checks, sources))
  const metrics = exposeMetrics({ scheduler: MONOTONIC, collect, emit })
  const follow = ({ watch }: Desired): void => metrics.follow(options.metrics ?? watch.metrics)
  return [{ follow, close: metrics.close }, keepBans(host, MONOTONIC, emit)]
}

interface Running {
  readonly loop: Loop
  readonly stop: () => Promise<void>
}

/** Starts the loop and the listeners that wake it. */
function begin(first: Loaded, file: ConfigFile, options: DaemonOptions, audience: Audience, sources: Sources): Running {
  const { book, emit } = audience
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
    emit,
  })
  const lookAgain = (): void => void loop.request('kernel')
  const checks = runChecks({
    scheduler,
    map: openHealth(host),
    openPath: (events) => openCheckPath(host, events),
    standings: openStandings(host),
    emit,
    onSummary: book.checked,
    onStale: lookAgain,
    clock: Date.now,
  })
  const hops = followHops({
    scheduler,
    haveChanged: (services) => haveNextHopsChanged(services, host),
    request: requestUnresolved,
    onChange: lookAgain,
  })
  const asking = askNeighbours({
    scheduler,
    packets: (generation, slots) => readBackendPackets(host, generation, slots),
    failing: checks.failing,
    ask: (addresses, most) => verifyHops(addresses, most, host),
  })
  const limitBans = banOffenders(host, scheduler, emit)
  const companions = companionsOf(options, audience, () => loop.wanted(), checks, sources, host)
  const onAdopt = (desired: Desired): void => {
    for (const { follow } of companions) follow(desired)
  }
  const loop: Loop = startLoop(first, {
    scheduler,
    file,
    book,
    emit,
    pipeline: pipelineOf(host, { ...NONE_ACCEPTED, allowedCuts: options.allowedCuts }),
    onLook() {
      files.follow()
      // Also those of an invalid config, which may lack only their copies.
      sources.follow(file.reads().remotes)
    },
    choose: followRollbacks(host, options.trust, emit),
    onAdopt,
    onServed(served, desired) {
      checks.serve(served, desired)
      hops.follow(served)
      asking.follow(served)
      limitBans.follow(served)
    },
    explain(error) {
      if (error instanceof XdpError) return error
      if (debug && error instanceof Error) emit({ event: 'trouble', what: error.stack ?? error.message })
      return unexpected(error)
    },
  })
  const links = createDebounce(
    scheduler,
    () => BURST,
    () => void loop.request('links'),
  )
  const onTrouble = (what: string): void => {
    host.kept.nextHops = undefined
    emit({ event: 'trouble', what })
  }
  const onEvents = (kinds: ReadonlySet<KernelEvent>): void => {
    if (NEXT_HOP_EVENTS.some((kind) => kinds.has(kind))) host.kept.nextHops = new Map()
    if (kinds.has('link')) links.touch()
    if (kinds.has('address')) void file.hasReaddressed().then((yes) => (yes ? loop.request('addresses') : undefined))
    hops.touch()
  }
  const kernel = listenToKernel(['link', 'address', 'route', 'rule', 'nexthop', 'neighbour'], {
    scheduler,
    onEvents,
    onTrouble,
  })
  files.follow()
  sources.follow(file.reads().remotes)
  onAdopt(first.desired)
  return {
    loop,
    async stop() {
      await sources.close()
      kernel.stop()
      links.cancel()
      hops.stop()
      asking.stop()
      await limitBans.stop()
      await loop.stop()
      await checks.close()
      await files.stop()
      for (const { close } of companions) await close()
    },
  }
}

/** The host without a progress line, and with `kept`, which holds what the last apply read and made. */
const quiet = ({
  bpffs,
  instance,
  lockTimeoutMs,
  cache,
  history,
  copies,
  signal,
}: Host): Host & { readonly kept: Kept } => ({
  bpffs,
  instance,
  lockTimeoutMs,
  cache,
  kept: { silent: new Set() },
  ...(history && { history }),
  ...(copies && { copies }),
  ...(signal && { signal }),
})

interface Started extends Running {
  readonly watcher: Watcher
  readonly audience: Audience
  readonly control: Control | undefined
}

/** A separate function, so that no variable of `runDaemon` keeps the first config in memory. */
async function start(options: DaemonOptions): Promise<Started> {
  const { host, path, trust } = options
  const file = openConfig(path, host.cache, trust, host.copies, readOwnAddresses)
  const sources = followSources({
    scheduler: MONOTONIC,
    store: openStore(host.copies?.directory ?? DEFAULT_COPIES.directory, host.copies?.uid ?? 0),
    clock: Date.now,
    random: Math.random,
    emit: (event) => options.emit({ ...event, repeated: 0 }),
    signal: host.signal,
  })
  const first = await firstConfig(file, sources)
  const watcher = await openWatcher(host)
  const audience = gather(options, watcher, () => running.loop.busyMs())
  const running = begin(first, file, options, audience, sources)
  const control = await tryControl(quiet(host), (what) => audience.emit({ event: 'trouble', what }))
  audience.emit({ event: 'started', pid: watcher.pid, instance: host.instance, config: path })
  void running.loop.request('start')
  return { ...running, watcher, audience, control }
}

/**
 * Watches until the signal. Throws XdpError where it cannot start (the config is invalid, another daemon watches the
 * instance, the host lacks something) and where it loses its lock.
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { loop, stop, watcher, audience, control } = await start(options)
  const { emit, service } = audience
  options.onHangup(() => {
    service?.reloading()
    void loop.request('reload').then(() => service?.reloaded())
  })
  const lost = watcher.lost.then(() => undefined)
  const reason = await Promise.race([given(options.host.signal), lost])
  emit({ event: 'stopping', reason: reason ?? 'the lock was lost' })
  await service?.stopping()
  await control?.close()
  await stop()
  try {
    await leave(options, loop, reason)
    emit({ event: 'stopped', attached: loop.wanted().watch.onStop === 'keep' })
  } finally {
    await audience.close()
    await watcher.release()
  }
}

/** Detaches the programs if the config says so, unless another daemon may have taken over already. */
async function leave({ host }: DaemonOptions, loop: Loop, reason: string | undefined): Promise<void> {
  if (reason === undefined) {
    const message = 'this daemon lost its lock: the process that held it was killed'
    throw fail('E118', message, 'run `xdp watch` again')
  }
  const { bpffs, instance, lockTimeoutMs } = host
  if (loop.wanted().watch.onStop === 'detach') {
    await detachInterfaces({ bpffs, instance, lockTimeoutMs }, loop.wanted())
  }
}
