// Sends numbered UDP datagrams from each SOURCE to TARGET as fast as one process can, until stdin closes, then prints
// how many the kernel took: {"SOURCE": count, …}. Usage: sender.mjs PORT SOURCE>TARGET…
import { createSocket } from 'node:dgram'

const [port, ...pairs] = process.argv.slice(2)
const sent = {}
let stopped = false

/** Sends one datagram after the other on one socket; a full device queue (ENOBUFS) is not a datagram sent. */
function flood(pair) {
  const [source, target] = pair.split('>')
  sent[source] = 0
  return new Promise((resolve, reject) => {
    const socket = createSocket(source.includes(':') ? 'udp6' : 'udp4')
    const payload = Buffer.alloc(18)
    const next = (error) => {
      if (error && error.code !== 'ENOBUFS') return reject(error)
      if (!error) sent[source]++
      if (stopped) return socket.close(resolve)
      socket.send(payload, Number(port), target, next)
    }
    socket.bind(0, source, () => {
      sent[source]--
      next()
    })
  })
}

process.stdin.on('end', () => {
  stopped = true
}).resume()
Promise.all(pairs.map(flood)).then(() => process.stdout.write(`${JSON.stringify(sent)}\n`))
process.stdout.write('started\n')
