// Connects twice from one source port, and prints the answers: {"first", "second"}. The connection between ends by a
// reset of the client (`reset`), or by the server (`closed`). Usage: reconnect.mjs HOST PORT LOCALPORT reset|closed
import { once } from 'node:events'
import { connect } from 'node:net'

const [host, port, localPort, end] = process.argv.slice(2)

async function ask() {
  const socket = connect({ host, port: Number(port), localPort: Number(localPort) })
  socket.setTimeout(10_000, () => socket.destroy(new Error('no answer for 10 seconds')))
  await once(socket, 'connect')
  socket.write(`GET / HTTP/1.1\r\nHost: test\r\nConnection: ${end === 'reset' ? 'keep-alive' : 'close'}\r\n\r\n`)
  let text = ''
  for await (const data of socket.iterator({ destroyOnReturn: false })) {
    text += data
    if (end === 'reset' && text.endsWith('\n') && /\r\n\r\n./.test(text)) break
  }
  const closed = socket.closed ? undefined : once(socket, 'close')
  if (end === 'reset') socket.resetAndDestroy()
  await closed
  return text.slice(text.indexOf('\r\n\r\n')).trim()
}

const first = await ask()
const second = await ask()
process.stdout.write(JSON.stringify({ first, second }))
