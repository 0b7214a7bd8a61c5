// The metrics endpoint, for as long as the config or a flag names one. The daemon runs on where it cannot listen.

import { XdpError } from '../diagnostics.ts'
import { type Endpoint, formatEndpoint } from '../model/endpoint.ts'
import type { WatchEvent } from '../report/watch.ts'
import { type MetricsServer, startMetrics } from './metrics.ts'
import { createQueue } from './time/queue.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** Milliseconds between attempts to listen. */
const RETRY = 60_000

export interface Exposure {
  /** Listens on this endpoint from now on; undefined: on none. */
  readonly follow: (endpoint: Endpoint | undefined) => void
  readonly close: () => Promise<void>
}

export interface ExposurePorts {
  readonly scheduler: Scheduler
  readonly collect: () => Promise<string>
  readonly emit: (event: WatchEvent) => void
  readonly start?: typeof startMetrics
}

const textOf = (endpoint: Endpoint | undefined): string | undefined => endpoint && formatEndpoint(endpoint)

export function exposeMetrics({ scheduler, collect, emit, start = startMetrics }: ExposurePorts): Exposure {
  const queue = createQueue()
  let wanted: Endpoint | undefined
  let server: MetricsServer | undefined
  const report = (error: unknown): void => {
    const what = error instanceof Error ? error.message : String(error)
    emit({ event: 'trouble', what: `cannot collect metrics: ${what.split('\n')[0]}` })
  }
  const open = async (): Promise<void> => {
    await server?.close()
    server = undefined
    const endpoint = wanted
    if (!endpoint) return
    try {
      server = await start({ endpoint, collect, report })
      if (server.warnings.length > 0) emit({ event: 'warning', warnings: server.warnings })
    } catch (error) {
      if (!(error instanceof XdpError)) throw error
      const message = error.diagnostics[0]?.message
      emit({ event: 'trouble', what: `metrics are not served: ${message}; next attempt in ${RETRY / 1000} s` })
      retry.set(RETRY)
    }
  }
  const retry = createAlarm(scheduler, () => queue.add(open))
  return {
    follow(endpoint) {
      if (textOf(endpoint) === textOf(wanted)) return
      wanted = endpoint
      retry.clear()
      queue.add(open)
    },
    async close() {
      retry.clear()
      await queue.close()
      await server?.close()
    },
  }
}
