// Checks a backend with a datagram: good if the backend answers. The socket is connected, so that the kernel accepts
// answers only from the backend and reports ICMP "port unreachable" (RFC 1122 §4.1.3.3).

import { createSocket } from 'node:dgram'
import type { UdpCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import { bad, GOOD, type Result } from '../standing.ts'
import { endOnce, failed } from './settle.ts'
import type { Source } from './source.ts'

export function probeUdp(
  { address, port, send, expect }: UdpCheck,
  done: (result: Result) => void,
  source?: Source,
): () => void {
  const socket = createSocket(address.family === 4 ? 'udp4' : 'udp6')
  const { finish, abandon } = endOnce(() => socket.close(), done)
  const wanted = Buffer.from(expect ?? '', 'hex')
  socket.on('error', (error) => finish(failed(error)))
  socket.on('message', (message) =>
    finish(message.includes(wanted) ? GOOD : bad('the answer does not have the expected bytes')),
  )
  socket.on('connect', () => {
    socket.send(Buffer.from(send, 'hex'), (error) => {
      if (error) finish(failed(error))
    })
  })
  if (source) socket.bind(source.port, source.address)
  socket.connect(port, formatAddress(address.family, address.words))
  return abandon
}
