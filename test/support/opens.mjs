// Run in a network namespace. `serve`: TCP and UDP servers that echo, on any address and the ports of the arguments
// (`tcp:8080`); prints a line when all listen. `connect`: exchanges with each `tcp:ADDRESS:PORT` of the arguments at the
// same time, and prints a JSON list of booleans, whether each echoed. `refused`: sends to each `udp:ADDRESS:PORT` from a
// connected socket, and prints likewise whether an ICMP error said that the port is closed. `hold`: opens one TCP connection, prints whether an
// echo came, and then one line more for each line of standard input.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, isIPv6 } from 'node:net'
import { createInterface } from 'node:readline'

const PATIENCE_MS = 1500
const [job, ...targets] = process.argv.slice(2)

/** `tcp:2001:db8::1:80` */
function parse(target) {
  const [, protocol, address, port] = /^(tcp|udp):(?:(.*):)?(\d+)$/.exec(target)
  return { protocol, address, port: Number(port) }
}

async function serve({ protocol, port }) {
  if (protocol === 'tcp') {
    const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket))
    await once(server.listen(port, '::'), 'listening')
    return
  }
  const socket = createSocket({ type: 'udp6' })
  socket.on('message', (data, { address, port: from }) => socket.send(data, from, address))
  socket.bind(port, '::')
  await once(socket, 'listening')
}

/** Whether a TCP socket echoes. */
async function echoes(socket) {
  socket.write('x')
  return Promise.race([
    once(socket, 'data').then(() => true),
    new Promise((done) => setTimeout(() => done(false), PATIENCE_MS)),
  ]).catch(() => false)
}

async function exchange({ protocol, address, port }) {
  if (protocol === 'tcp') {
    const socket = connect(port, address).on('error', () => undefined)
    const answered = await echoes(socket)
    socket.destroy()
    return answered
  }
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  socket.send('x', port, address)
  const answered = await Promise.race([
    once(socket, 'message').then(() => true),
    new Promise((done) => setTimeout(() => done(false), PATIENCE_MS)),
  ])
  socket.close()
  return answered
}

async function isRefused({ address, port }) {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  socket.connect(port, address)
  await once(socket, 'connect')
  socket.send('x')
  const error = new Promise((done) => socket.on('error', ({ code }) => done(code === 'ECONNREFUSED')))
  const refused = await Promise.race([error, new Promise((done) => setTimeout(() => done(false), PATIENCE_MS))])
  socket.close()
  return refused
}

if (job === 'serve') {
  await Promise.all(targets.map((target) => serve(parse(target))))
  process.stdout.write('ready\n')
} else if (job === 'connect' || job === 'refused') {
  const ask = job === 'connect' ? exchange : isRefused
  const answers = await Promise.all(targets.map((target) => ask(parse(target))))
  process.stdout.write(`${JSON.stringify(answers)}\n`)
} else {
  const { address, port } = parse(targets[0])
  const socket = connect(port, address).on('error', () => undefined)
  process.stdout.write(`${await echoes(socket)}\n`)
  for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(`${await echoes(socket)}\n`)
  process.exit()
}
