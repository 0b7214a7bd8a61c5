// Run in a network namespace. `serve`: TCP servers on any address, which echo; one on each `echo:PORT` closes after its
// client, on each `hasty:PORT` with the echo, on each `held:PORT` when a line comes on standard input. Prints a line when all
// listen. `churn COUNT [LOCAL_PORT]`: opens so many connections to each `ADDRESS:PORT`, several at a time, or one after the
// other from that port; one exchange each, closed in order. `hold COUNT`: likewise, but closes all of them together, when a
// line comes; prints a line before. Both print a JSON object at the end: the number of connections that went well, and the
// errors of the others.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const PARALLEL = 16
const PATIENCE_MS = 20_000
const [job, ...words] = process.argv.slice(2)
const numbers = words.filter((word) => /^\d+$/.test(word)).map(Number)
const targets = words.slice(numbers.length)
const signalled = () => once(process.stdin, 'data')

async function serve(word) {
  const [manner, port] = word.split(':')
  const held = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket
      .on('error', () => undefined)
      .on('data', (data) => (manner === 'hasty' ? socket.end(data) : socket.write(data)))
    if (manner === 'held') held.push(socket)
    else socket.on('end', () => socket.end())
  })
  await once(server.listen({ host: '::', port: Number(port), backlog: 64 }), 'listening')
  if (manner === 'held') signalled().then(() => held.map((socket) => socket.end()))
}

const patience = () => ({ signal: AbortSignal.timeout(PATIENCE_MS) })

/** A connection after one exchange. */
async function open(target, localPort) {
  const [, host, port] = /^(.*):(\d+)$/.exec(target)
  const socket = connect({ host, port: Number(port), localPort })
  await once(socket, 'connect', patience())
  socket.write('x')
  await once(socket, 'data', patience())
  return socket
}

async function close(socket) {
  socket.end()
  await once(socket, 'close', patience())
}

/** Works through every connection, and counts. */
async function through(items, parallel, work) {
  const wait = [...items]
  const errors = []
  let good = 0
  const worker = async () => {
    for (let item = wait.shift(); item !== undefined; item = wait.shift())
      await work(item).then(
        () => good++,
        ({ message }) => errors.push(message),
      )
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return { good, errors }
}

const print = (value) => process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value)}\n`)

if (job === 'serve') {
  await Promise.all(words.map(serve))
  print('ready')
} else {
  const [count, localPort] = numbers
  const all = Array.from({ length: count }, () => targets).flat()
  if (job === 'churn') {
    const work = async (target) => close(await open(target, localPort))
    print(await through(all, localPort === undefined ? PARALLEL : 1, work))
  } else {
    const sockets = []
    const opened = await through(all, PARALLEL, async (target) => sockets.push(await open(target)))
    print('ready')
    await signalled()
    const { good, errors } = await through(sockets, sockets.length, close)
    print({ good, errors: [...opened.errors, ...errors] })
    process.exit()
  }
}
