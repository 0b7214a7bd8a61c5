// Sends COUNT datagrams of SIZE bytes, one after the other, and waits for the echo of each; a datagram without an answer
// is sent again after a quarter of a second, as a client of a datagram protocol would. Prints the number of datagrams that
// were answered whole, and of those sent: {"answered": count, "sent": count}. Usage: large.mjs HOST PORT COUNT SIZE
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'

const [host, port, count, size] = process.argv.slice(2)
const ATTEMPTS = 8
const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
const result = { answered: 0, sent: 0 }

/** Whether the datagram comes back. */
const ask = (data) =>
  new Promise((resolve) => {
    const done = (is) => {
      clearTimeout(timer)
      socket.removeListener('message', hear)
      socket.removeListener('error', fail)
      resolve(is)
    }
    const hear = (message) => message.equals(data) && done(true)
    // The kernel reports a "packet too big" once as an error of the socket.
    const fail = () => {}
    const timer = setTimeout(() => done(false), 250)
    socket.on('message', hear)
    socket.on('error', fail)
    result.sent++
    socket.send(data, Number(port), host, () => {})
  })

for (let i = 0; i < Number(count); i++) {
  const data = randomBytes(Number(size))
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await ask(data)) {
      result.answered++
      break
    }
  }
}
socket.close()
process.stdout.write(`${JSON.stringify(result)}\n`)
