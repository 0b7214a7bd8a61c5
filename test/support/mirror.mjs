// A UDP service of a backend: answers every datagram with its content, from the address that received it.
// Usage: mirror.mjs PORT ADDRESS…
import { createSocket } from 'node:dgram'

const [port, ...addresses] = process.argv.slice(2)

/** One socket per address, since a wildcard socket answers from whatever address the route prefers. */
const bind = (address) =>
  new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('error', reject)
    socket.on('message', (data, { address: to, port: from }) => socket.send(data, from, to))
    socket.bind(Number(port), address, resolve)
  })

await Promise.all(addresses.map(bind))
process.stdout.write('ready\n')
