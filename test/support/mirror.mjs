// A service of a backend by UDP and TCP: answers with the data that it gets, from the address that received it. A datagram
// `fill N` gets N bytes. Usage: mirror.mjs PORT ADDRESS…
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const [port, ...addresses] = process.argv.slice(2)

/** One socket per address, since a wildcard socket answers from whatever address the route prefers. */
const bind = (address) =>
  new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('error', reject)
    socket.on('message', (data, { address: to, port: from }) => {
      const size = /^fill (\d+)$/.exec(data)?.[1]
      socket.send(size === undefined ? data : Buffer.alloc(Number(size), '-'), from, to)
    })
    socket.bind(Number(port), address, resolve)
  })

const listen = (address) =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.pipe(socket)
    })
    server.on('error', reject)
    server.listen(Number(port), address, resolve)
  })

await Promise.all(addresses.flatMap((address) => [bind(address), listen(address)]))
process.stdout.write('ready\n')
