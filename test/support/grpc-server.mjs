// A gRPC server with nothing but its health service, by hand: answers SERVING for the services named in its arguments
// after PORT, and NOT_SERVING for all others. SIGUSR1 makes it answer NOT_SERVING for every service.
import { createServer } from 'node:http2'

const [port, ...serving] = process.argv.slice(2)
const names = new Set(serving)
process.on('SIGUSR1', () => names.clear())

const server = createServer()
server.on('stream', (stream, { ':path': path }) => {
  const parts = []
  stream.on('error', () => undefined)
  stream.on('data', (part) => parts.push(part))
  stream.on('end', () => {
    const headers = { ':status': 200, 'content-type': 'application/grpc' }
    if (path !== '/grpc.health.v1.Health/Check') {
      stream.respond({ ...headers, 'grpc-status': '12' }, { endStream: true })
      return
    }
    // Behind the prefix of five bytes: the tag and the length of the name, if it is not empty.
    const name = Buffer.concat(parts).toString('utf8', 7)
    stream.respond(headers, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, names.has(name) ? 1 : 2]))
  })
})
server.listen(Number(port), '::', () => process.stdout.write('listening\n'))
