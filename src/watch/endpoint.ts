// The endpoint of metrics, for as long as the config (or a flag) names one. It can be had or not; the daemon goes on.

import { XdpError } from '../diagnostics.ts'
import { type Endpoint, formatEndpoint } from '../model/endpoint.ts'
import type { WatchEvent } from '../report/watch.ts'
import { type MetricsServer, startMetrics } from './metrics.ts'
import { createQueue } from './time/queue.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** How often an address that could not be listened on is tried again, in milliseconds. */
const AGAIN = 60_000

export interface Exposure {
  /** Listens there from now on; undefined: nowhere. */
  readonly follow: (endpoint: Endpoint | undefined) => void
  readonly close: () => Promise<void>
}

export interface ExposurePorts {
  readonly scheduler: Scheduler
  readonly collect: () => Promise<string>
  readonly tell: (event: WatchEvent) => void
  readonly start?: typeof startMetrics
}

const textOf = (endpoint: Endpoint | undefined): string | undefined => endpoint && formatEndpoint(endpoint)

export function exposeMetrics({ scheduler, collect, tell, start = startMetrics }: ExposurePorts): Exposure {
  const queue = createQueue()
  let wanted: Endpoint | undefined
  let server: MetricsServer | undefined
  const report = (error: unknown): void => {
    const what = error instanceof Error ? error.message : String(error)
    tell({ event: 'trouble', what: `metrics could not be told: ${what.split('\n')[0]}` })
  }
  const open = async (): Promise<void> => {
    await server?.close()
    server = undefined
    const endpoint = wanted
    if (!endpoint) return
    try {
      server = await start({ endpoint, collect, report })
      if (server.warnings.length > 0) tell({ event: 'warning', warnings: server.warnings })
    } catch (error) {
      if (!(error instanceof XdpError)) throw error
      const message = error.diagnostics[0]?.message
      tell({ event: 'trouble', what: `metrics are not served: ${message}; trying again in ${AGAIN / 1000} s` })
      again.set(AGAIN)
    }
  }
  const again = createAlarm(scheduler, () => queue.add(open))
  return {
    follow(endpoint) {
      if (textOf(endpoint) === textOf(wanted)) return
      wanted = endpoint
      again.clear()
      queue.add(open)
    },
    async close() {
      again.clear()
      await queue.close()
      await server?.close()
    },
  }
}
