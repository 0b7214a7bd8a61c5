// The control socket of the daemon: a Unix socket through which ban and unban reach it. The directory and the socket
// belong to root and are closed to all others, so the kernel lets only root connect (unix(7)); ADR 0054.

import { existsSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { fail } from '../../diagnostics.ts'
import {
  type BanAnswer,
  type BanMessage,
  decodeAnswer,
  encodeMessage,
  MOST_MESSAGE_BYTES,
} from '../../model/ban-wire.ts'
import { instanceFile, runDirectory } from '../tools/exchange.ts'
import type { Host } from './host.ts'

/** Milliseconds until the caller writes bans itself: the daemon may be compiling a long list. */
const PATIENCE_MS = 1000
/** The daemon ignores a request this long before its sender stops waiting, so that it cannot take effect afterwards. */
const MARGIN_MS = 500

export const controlSocket = (bpffs: string, instance: string): Promise<string> =>
  instanceFile(bpffs, instance, 'control.sock')

/** The permission bits of group and others. */
const OTHERS = 0o077

/** Whether only this user may enter a directory. */
export const isPrivate = ({ uid, mode }: { readonly uid: number; readonly mode: number }, self: number): boolean =>
  uid === self && (mode & OTHERS) === 0

/**
 * The path for the socket of a daemon. Throws E104 if its directory is open to other users: the permission to enter it
 * is the permission to ban.
 */
export async function controlPlace({ bpffs, instance }: Host): Promise<string> {
  const directory = await runDirectory()
  if (isPrivate(await lstat(directory), process.geteuid?.() ?? -1)) return controlSocket(bpffs, instance)
  throw fail('E104', `${directory} is open to other users, so it can hold no control socket`, `chmod 700 ${directory}`)
}

/** The clock of `until` in messages: CLOCK_MONOTONIC, which all processes of a machine share, in milliseconds. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n)

/** Asks the daemon that listens at `path`; undefined if none does, or it does not answer soon. */
export async function askDaemon(path: string, message: Omit<BanMessage, 'until'>): Promise<BanAnswer | undefined> {
  if (!existsSync(path)) return undefined
  const { connect } = await import('node:net')
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(path)
    const settle = (answer: BanAnswer | undefined): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => settle(undefined), PATIENCE_MS)
    socket.setEncoding('utf8')
    socket.on('error', () => settle(undefined))
    socket.on('close', () => settle(undefined))
    socket.on('data', (data) => {
      text += String(data)
      const end = text.indexOf('\n')
      if (end >= 0) settle(decodeAnswer(text.slice(0, end), message.orders.length))
      else if (text.length > MOST_MESSAGE_BYTES) settle(undefined)
    })
    socket.write(encodeMessage({ ...message, until: monotonicMs() + PATIENCE_MS - MARGIN_MS }))
  })
}
