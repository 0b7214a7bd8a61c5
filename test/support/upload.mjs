// Sends SIZE bytes over one TCP connection to a mirror and prints how many came back unchanged: {"echoed": bytes}.
// Usage: upload.mjs HOST PORT SIZE
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'

const [host, port, size] = process.argv.slice(2)
const data = randomBytes(Number(size))
const back = []
const socket = connect(Number(port), host, () => socket.end(data))
const report = () => {
  const all = Buffer.concat(back)
  process.stdout.write(`${JSON.stringify({ echoed: all.equals(data) ? all.length : 0 })}\n`)
  process.exit()
}
socket.setTimeout(15_000, report)
socket.on('data', (chunk) => back.push(chunk))
socket.on('close', report)
socket.on('error', report)
