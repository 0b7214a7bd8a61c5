// The service manager that started us, by sd_notify(3). Node has no datagram sockets in the file system, so
// systemd-notify(1) speaks for us; docs/adr says what that costs and what it needs.

import { XdpError } from '../../diagnostics.ts'
import { spawnChild } from '../tools/spawn.ts'

export interface ServiceManager {
  /** How often it wants to hear WATCHDOG=1 at least, in milliseconds; undefined: not at all. */
  readonly watchdogMs: number | undefined
  /** Sends assignments such as `READY=1`, after all that were sent before. Never throws: `onFailure` hears of it. */
  readonly notify: (...assignments: readonly string[]) => Promise<void>
}

/** An assignment is one line. */
const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, '; ')

/** CLOCK_MONOTONIC in microseconds, which RELOADING=1 asks for. */
export const monotonicMicroseconds = (): bigint => process.hrtime.bigint() / 1000n

function watchdog(): number | undefined {
  const { WATCHDOG_USEC: time, WATCHDOG_PID: pid } = process.env
  const isOurs = pid === undefined || Number(pid) === process.pid
  const microseconds = Number(time)
  return isOurs && microseconds > 0 ? microseconds / 1000 : undefined
}

/** undefined where nobody wants to be notified. `onFailure` is called once, with the reason. */
export function serviceManager(onFailure: (why: string) => void): ServiceManager | undefined {
  if (!process.env['NOTIFY_SOCKET']) return undefined
  let last = Promise.resolve()
  let hasFailed = false
  const failed = (why: string): void => {
    if (!hasFailed) onFailure(why)
    hasFailed = true
  }
  const send = async (assignments: readonly string[]): Promise<void> => {
    try {
      // As a child of ours: it speaks in the name of its parent.
      const { exitCode, stderr } = await spawnChild('systemd-notify', assignments.map(oneLine))
      if (exitCode !== 0) failed(stderr.trim() || `exit status ${exitCode}`)
    } catch (error) {
      if (!(error instanceof XdpError)) throw error
      failed(error.message)
    }
  }
  return {
    watchdogMs: watchdog(),
    notify(...assignments) {
      last = last.then(() => send(assignments))
      return last
    },
  }
}
