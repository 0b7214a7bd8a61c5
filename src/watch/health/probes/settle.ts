// Shared by all probes: ending once, and translating socket errors into results.

import { bad, type Result, unknown } from '../standing.ts'

/** The end of a probe: the first call of `finish` or `abandon` closes it, later calls do nothing. */
export interface Ending {
  readonly finish: (result: Result) => void
  readonly abandon: () => void
}

export function endOnce(close: () => void, done: (result: Result) => void): Ending {
  let isOpen = true
  const end = (result?: Result): void => {
    if (!isOpen) return
    isOpen = false
    close()
    if (result) done(result)
  }
  return { finish: end, abandon: () => end() }
}

/** errno(3) codes for problems of this host, which say nothing about the backend. */
const OWN_TROUBLE: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: 'no free port to connect from',
  EAGAIN: 'no free port to connect from',
  EMFILE: 'too many open files in this process',
  ENFILE: 'too many open files on this host',
  ENOBUFS: 'no memory for sockets',
  ENOMEM: 'no memory',
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  EPIPE: 'connection closed',
  ETIMEDOUT: 'connection timed out',
  EACCES: 'forbidden by a rule of this host',
  EPERM: 'forbidden by a rule of this host',
}

/** Translates an error into a result. */
export function failed(error: Error & { readonly code?: unknown; readonly syscall?: unknown }): Result {
  const code = typeof error.code === 'string' ? error.code : ''
  const trouble = OWN_TROUBLE[code]
  if (trouble !== undefined) return unknown(`${trouble} (${code})`)
  if (code === 'HPE_HEADER_OVERFLOW') return bad('the answer has too many headers')
  if (code.startsWith('HPE_')) return bad(`the answer is not HTTP (${code})`)
  // Node reports ECONNRESET also for a connection that was closed in order; then no system call failed.
  if (code === 'ECONNRESET' && error.syscall === undefined) return bad('connection closed before the end of the answer')
  return bad(WORDS[code] ?? plain(error.message || code || 'failed'))
}

/** Most characters of a reason, which goes into logs and tables. */
const LONGEST = 200

/** Text of a peer or a command as one printable line. */
export function plain(text: string): string {
  // Control and format characters, line and paragraph separators, lone surrogates, private use.
  const line = text.replace(/[\p{C}\p{Z}]+/gu, ' ').trim()
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line
}
