// Checks a backend with a TCP connection: good if the backend accepts it.

import { connect } from 'node:net'
import type { TcpCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import { GOOD, type Result } from '../standing.ts'
import { endOnce, failed } from './settle.ts'
import { from, reset, type Source } from './source.ts'

export function probeTcp({ address, port }: TcpCheck, done: (result: Result) => void, source?: Source): () => void {
  const socket = connect({ host: formatAddress(address.family, address.words), port, ...from(source) })
  // Ends with RST: otherwise a thousand checks a second would leave 60,000 sockets in TIME-WAIT.
  const { finish, abandon } = endOnce(() => reset(socket), done)
  socket.on('connect', () => finish(GOOD))
  // Further errors may follow, even after the end.
  socket.on('error', (error) => finish(failed(error)))
  return abandon
}
