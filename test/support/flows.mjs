// Sends COUNT UDP flows of one datagram each, from different ports; prints the number of answers by backend name:
// {"NAME": count, "none": count}. Usage: flows.mjs HOST PORT COUNT
import { createSocket } from 'node:dgram'

const [host, port, count] = process.argv.slice(2)
const answers = {}
/** Number of sockets open at a time. */
const PARALLEL = 64
let left = Number(count)

const flow = () =>
  new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    const done = (name) => {
      clearTimeout(timer)
      answers[name] = (answers[name] ?? 0) + 1
      socket.close(resolve)
    }
    const timer = setTimeout(() => done('none'), 2000)
    socket.on('error', reject)
    socket.on('message', (message) => done(message.toString()))
    socket.send('?', Number(port), host)
  })

async function worker() {
  while (left-- > 0) await flow()
}

await Promise.all(Array.from({ length: PARALLEL }, worker))
process.stdout.write(`${JSON.stringify(answers)}\n`)
