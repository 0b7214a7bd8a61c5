// The control socket: carries out the bans of other programs. All requests that arrive while bans are being written form
// the next run, so a thousand clients cost a few processes. docs/bans.md has the messages.

import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { XdpError } from '../diagnostics.ts'
import { controlPlace, monotonicMs } from '../kernel/host/control.ts'
import { type Host, ownNetns } from '../kernel/host/host.ts'
import type { BanOutcome } from '../model/ban.ts'
import {
  type BanAnswer,
  type BanMessage,
  decodeMessage,
  encodeAnswer,
  MOST_MESSAGE_BYTES,
  type WireError,
} from '../model/ban-wire.ts'
import { type BanWriter, openWriter } from '../pipelines/bans.ts'

/** Most clients at a time. */
const MOST_CLIENTS = 256
/** Most requests of one run: other writers wait for it. */
const MOST_AT_ONCE = 16_384

export interface ControlPorts {
  /** Path of the socket, in a directory that only root may enter. */
  readonly path: string
  /** Inode of the network namespace of the daemon. */
  readonly netns: bigint
  readonly writer: Pick<BanWriter, 'write'>
  /** The clock of `until` in messages. */
  readonly now: () => number
  /** Called once if the socket cannot be opened, or fails later. */
  readonly onTrouble: (what: string) => void
}

export interface Control {
  /** Settles when clients can connect, or never will. */
  readonly open: Promise<void>
  /** Answers what has arrived, and removes the socket. */
  readonly close: () => Promise<void>
}

/** A request and its answer. */
interface Pending {
  readonly message: BanMessage
  readonly answer: (answer: BanAnswer) => void
}

function errorOf(error: unknown): WireError {
  const first = error instanceof XdpError ? error.diagnostics[0] : undefined
  if (!first) return { code: 'E999', message: error instanceof Error ? error.message : String(error) }
  const { code, message, hint } = first
  return { code, message, ...(hint === undefined ? {} : { hint }) }
}

/** Why a message is not carried out; undefined: it is. */
function refusal({ netns, until }: BanMessage, ports: ControlPorts): WireError | undefined {
  if (netns !== undefined && netns !== ports.netns) {
    const message = 'the daemon of this instance runs in another network namespace'
    return { code: 'E201', message, hint: 'run xdp in that namespace, or give each namespace its own --instance' }
  }
  // The sender no longer waits, and may have written the ban itself and lifted it again.
  if (until !== undefined && ports.now() > until) return { code: 'E106', message: 'the request has waited too long' }
  return undefined
}

/** Carries out messages, one run after the other. */
function createWorker(ports: ControlPorts): {
  readonly add: (one: Pending) => void
  readonly idle: () => Promise<void>
} {
  let pending: Pending[] = []
  let running: Promise<void> | undefined

  /** The next messages; at least one, however many requests it has. */
  const take = (): Pending[] => {
    let requests = 0
    const beyond = pending.findIndex(({ message: { orders } }, i) => {
      requests += orders.length
      return i > 0 && requests > MOST_AT_ONCE
    })
    const taken = beyond < 0 ? pending : pending.slice(0, beyond)
    pending = pending.slice(taken.length)
    return taken
  }

  const carryOut = async (taken: readonly Pending[]): Promise<void> => {
    const accepted = taken.filter(({ message, answer }) => {
      const error = refusal(message, ports)
      if (error) answer({ error })
      return error === undefined
    })
    if (accepted.length === 0) return
    let outcomes: readonly BanOutcome[]
    try {
      outcomes = await ports.writer.write(accepted.flatMap(({ message }) => message.orders))
    } catch (error) {
      for (const { answer } of accepted) answer({ error: errorOf(error) })
      return
    }
    let first = 0
    for (const { message, answer } of accepted) {
      answer({ outcomes: outcomes.slice(first, first + message.orders.length) })
      first += message.orders.length
    }
  }

  const run = async (): Promise<void> => {
    while (pending.length > 0) await carryOut(take())
    running = undefined
  }

  return {
    add(one) {
      pending.push(one)
      running ??= run()
    },
    idle: async () => running,
  }
}

/** Splits what a client sends into lines, and answers each in turn. */
function serveClient(socket: Socket, add: (one: Pending) => void): void {
  let rest = ''
  const send = (answer: BanAnswer): void => {
    if (socket.writable) socket.write(encodeAnswer(answer))
  }
  const reject = (message: string): void => send({ error: { code: 'E300', message } })
  socket.setEncoding('utf8')
  // A client that has gone: its requests are carried out all the same.
  socket.on('error', () => undefined)
  socket.on('data', (data) => {
    const lines = (rest + String(data)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const message = decodeMessage(line)
      if (typeof message === 'string') reject(message)
      else add({ message, answer: send })
    }
    if (rest.length > MOST_MESSAGE_BYTES) {
      reject(`a message has more than ${MOST_MESSAGE_BYTES} bytes`)
      socket.destroySoon()
    }
  })
}

/** Listens from now on. The caller is the only daemon of its instance, so a socket that exists is a leftover. */
export function openControl(ports: ControlPorts): Control {
  const { path, onTrouble } = ports
  const worker = createWorker(ports)
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    clients.add(socket)
    socket.on('close', () => clients.delete(socket))
    serveClient(socket, worker.add)
  })
  server.maxConnections = MOST_CLIENTS
  rmSync(path, { force: true })
  const open = new Promise<void>((resolve) => {
    server.on('error', ({ message }) => {
      onTrouble(`the control socket does not work, so each ban starts its own tools: ${message}`)
      resolve()
    })
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve()
    })
  })
  return {
    open,
    async close() {
      await open
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      await worker.idle()
      for (const client of clients) client.destroySoon()
      await closed
      rmSync(path, { force: true })
    },
  }
}

/** Opens the socket of an instance. Without it commands write bans themselves, so a failure is only reported. */
export async function tryControl(host: Host, onTrouble: (what: string) => void): Promise<Control | undefined> {
  try {
    const path = await controlPlace(host)
    const [netns, writer] = await Promise.all([ownNetns(), openWriter(host)])
    const control = openControl({ path, netns, writer, now: monotonicMs, onTrouble })
    await control.open
    return control
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    onTrouble(`no control socket, so each ban starts its own tools: ${error.diagnostics[0]?.message}`)
    return undefined
  }
}
