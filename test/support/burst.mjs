// Opens many connections to an HTTP service, dozens at a time, each for one request; prints the number of each body or
// error: {"NAME": count}. Usage: burst.mjs HOST PORT COUNT
import { Agent, request } from 'node:http'

const [host, port, count] = process.argv.slice(2)
const PARALLEL = 48
const heard = {}
const agent = new Agent({ keepAlive: false })
let left = Number(count)

const ask = () =>
  new Promise((resolve) => {
    const done = (what) => {
      heard[what] = (heard[what] ?? 0) + 1
      resolve()
    }
    const asked = request({ agent, host, port: Number(port), path: '/' }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text) => {
        body += text
      })
      answer.on('end', () => done(body.trim()))
    })
    asked.setTimeout(5000, () => asked.destroy(new Error('no answer for 5 seconds')))
    asked.on('error', ({ message }) => done(message)).end()
  })

async function worker() {
  while (left-- > 0) await ask()
}

await Promise.all(Array.from({ length: PARALLEL }, worker))
process.stdout.write(`${JSON.stringify(heard)}\n`)
