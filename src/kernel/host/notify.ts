// Notifies the service manager that started this process, by sd_notify(3). Node has no datagram sockets in the file
// system, so systemd-notify(1) sends the messages; docs/adr has the costs and conditions of that.

import { XdpError } from '../../diagnostics.ts'
import { spawnChild } from '../tools/spawn.ts'

export interface ServiceManager {
  /** Longest interval between WATCHDOG=1 messages in milliseconds; undefined: none are wanted. */
  readonly watchdogMs: number | undefined
  /** Sends assignments such as `READY=1`, in order. Never throws; reports a failure to `onFailure`. */
  readonly notify: (...assignments: readonly string[]) => Promise<void>
}

/** An assignment must be on one line. */
const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, '; ')

/** CLOCK_MONOTONIC in microseconds, for RELOADING=1. */
export const monotonicMicroseconds = (): bigint => process.hrtime.bigint() / 1000n

function watchdog(): number | undefined {
  const { WATCHDOG_USEC: time, WATCHDOG_PID: pid } = process.env
  const isOurs = pid === undefined || Number(pid) === process.pid
  const microseconds = Number(time)
  return isOurs && microseconds > 0 ? microseconds / 1000 : undefined
}

/** undefined if no service manager wants notifications. Calls `onFailure` at most once, with the reason. */
export function serviceManager(onFailure: (why: string) => void): ServiceManager | undefined {
  const socket = process.env['NOTIFY_SOCKET']
  if (!socket) return undefined
  let last = Promise.resolve()
  let hasFailed = false
  const failed = (why: string): void => {
    if (!hasFailed) onFailure(why)
    hasFailed = true
  }
  const send = async (assignments: readonly string[]): Promise<void> => {
    try {
      // As a child: systemd accepts it as a message of the parent.
      const { exitCode, stderr } = await spawnChild('systemd-notify', assignments.map(oneLine), undefined, {
        NOTIFY_SOCKET: socket,
      })
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
