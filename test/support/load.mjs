// Load on an HTTP service over long-lived connections, each asking again and again, until stdin closes. Then prints
// what became of each: {"connections": [{"backend", "requests", "error"}], "requests": N}. The body of an answer names
// the backend; one connection must hear the same name all along. Usage: load.mjs HOST PORT CONNECTIONS [SOURCE]
import { Agent, request } from 'node:http'

const [host, port, count, localAddress] = process.argv.slice(2)
let stopped = false

/** Between two requests: tests are about connections that live, and have the same two CPUs to do their edits with. */
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

/** One connection from beginning to end. */
async function connection() {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Set()
  agent.on('free', (socket) => sockets.add(socket))
  const outcome = { backend: undefined, requests: 0, error: undefined }
  try {
    // Once more when it is over: whatever happened by then is noticed.
    for (let isLast = false; !isLast; ) {
      isLast = stopped
      const backend = await ask(agent)
      outcome.backend ??= backend
      outcome.requests++
      if (backend !== outcome.backend) throw new Error(`went from ${outcome.backend} to ${backend}`)
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
