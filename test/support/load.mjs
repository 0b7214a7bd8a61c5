// Load on an HTTP service over long-lived connections, each with one request after the other, until stdin closes. Then
// prints the result of each: {"connections": [{"backend", "requests", "error"}], "requests": N}. The body of an answer
// names the backend; a connection must get one name all the time. Usage: load.mjs HOST PORT CONNECTIONS [SOURCE]
import { Agent, request } from 'node:http'

const [host, port, count, localAddress] = process.argv.slice(2)
let stopped = false

/** Pause between two requests: tests need live connections, and share two CPUs with them. */
const PAUSE_MS = 100

const ask = (agent) =>
  new Promise((resolve, reject) => {
    const asked = request({ agent, host, port: Number(port), localAddress, path: '/' }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text) => {
        body += text
      })
      answer.on('end', () => resolve(body.trim())).on('error', reject)
    })
    asked.setTimeout(5000, () => asked.destroy(new Error('no answer for 5 seconds')))
    asked.on('error', reject).end()
  })

/** Runs one connection from start to end. */
async function connection() {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Set()
  agent.on('free', (socket) => sockets.add(socket))
  const outcome = { backend: undefined, requests: 0, error: undefined }
  try {
    // One more request at the end: it notices any failure so far.
    for (let isLast = false; !isLast; ) {
      isLast = stopped
      const backend = await ask(agent)
      outcome.backend ??= backend
      outcome.requests++
      if (backend !== outcome.backend) throw new Error(`moved from ${outcome.backend} to ${backend}`)
      if (sockets.size > 1) throw new Error('the server closed the connection')
      if (!isLast) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  } catch (error) {
    outcome.error = error.message
  }
  agent.destroy()
  return outcome
}

const running = Array.from({ length: Number(count) }, connection)
process.stdout.write('ready\n')
process.stdin
  .on('end', () => {
    stopped = true
  })
  .resume()
const connections = await Promise.all(running)
const requests = connections.reduce((sum, one) => sum + one.requests, 0)
process.stdout.write(`${JSON.stringify({ connections, requests })}\n`)
