// The address and port that a check comes from, where that matters: for checks through a VIP they lead to the backend.
// Connections from there end with RST, as the next one from that port must not meet one in TIME-WAIT.

import type { Socket } from 'node:net'

export interface Source {
  /** Formatted. */
  readonly address: string
  readonly port: number
}

/** Options of a connection from there; undefined: the kernel chooses. */
export const from = (source: Source | undefined): { readonly localAddress?: string; readonly localPort?: number } =>
  source ? { localAddress: source.address, localPort: source.port } : {}

/** Ends a connection with RST. One that is still being set up is only destroyed. */
export function reset(socket: Socket): void {
  if (socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}

/** Ends a connection, with RST if its source matters. */
export function hangUp(socket: Socket | undefined, source: Source | undefined): void {
  if (source && socket) reset(socket)
  else socket?.destroy()
}
