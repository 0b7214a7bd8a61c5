// Whether a TCP connection is accepted.

import { connect } from 'node:net'
import type { TcpCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import { GOOD, type Result } from '../standing.ts'
import { endOnce, failed } from './settle.ts'

export function probeTcp({ address, port }: TcpCheck, done: (result: Result) => void): () => void {
  const socket = connect({ host: formatAddress(address.family, address.words), port })
  const { finish, abandon } = endOnce(() => {
    // Ended by RST: a thousand checks a second would else leave 60,000 sockets in TIME-WAIT. While it is being set up a
    // connection is just let go.
    if (socket.connecting) socket.destroy()
    else socket.resetAndDestroy()
  }, done)
  socket.on('connect', () => finish(GOOD))
  // Errors may follow the first, and the end.
  socket.on('error', (error) => finish(failed(error)))
  return abandon
}
