// A UDP service of a backend: answers every datagram with its name, from the address that received it. With --count it
// prints on exit how many flows (client address and port) it saw. Usage: echo.mjs NAME PORT ADDRESS…
import { createSocket } from 'node:dgram'

const [name, port, ...addresses] = process.argv.slice(2)
const answer = Buffer.from(name)

/** One socket per address, since a wildcard socket answers from whatever address the route prefers. */
const bind = (address) =>
  new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('error', reject)
    socket.on('message', (_, { address: to, port: from }) => socket.send(answer, from, to))
    socket.bind(Number(port), address, resolve)
  })

await Promise.all(addresses.map(bind))
process.stdout.write('ready\n')
