// Sends UDP datagrams from each SOURCE to TARGET in bursts, one per millisecond, until stdin closes, then prints how
// many the kernel accepted: {"SOURCE": count, …}. Usage: sender.mjs PORT BURST SOURCE>TARGET…
import { createSocket } from 'node:dgram'

const [port, burst, ...pairs] = process.argv.slice(2)
const sent = {}
const payload = Buffer.alloc(18)
let stopped = false

/** Sends bursts on one socket; a datagram that meets a full device queue (ENOBUFS) was not sent. */
function flood(pair) {
  const [source, target] = pair.split('>')
  sent[source] = 0
  return new Promise((resolve, reject) => {
    const socket = createSocket(source.includes(':') ? 'udp6' : 'udp4')
    let pending = 0
    const done = (error) => {
      pending--
      if (!error) sent[source]++
      else if (error.code !== 'ENOBUFS') reject(error)
      if (stopped && pending === 0) socket.close(resolve)
    }
    const fire = () => {
      if (stopped && pending === 0) return socket.close(resolve)
      if (stopped) return
      for (let i = pending; i < Number(burst); i++) {
        pending++
        socket.send(payload, Number(port), target, done)
      }
      setTimeout(fire, 1)
    }
    socket.bind(0, source, fire)
  })
}

process.stdin
  .on('end', () => {
    stopped = true
  })
  .resume()
await Promise.all(pairs.map(flood)).then(
  () => process.stdout.write(`${JSON.stringify(sent)}\n`),
  (error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
