// Sends requests over separate connections, a new one every few milliseconds, until stdin closes. Then prints the
// result of each: [{"time", "backend", "error"}]. The body of an answer names the backend. Usage: asks.mjs HOST PORT
import { request } from 'node:http'

const [host, port] = process.argv.slice(2)
const EVERY = 10
const asked = []
let open = 0
let stopped = false

function ask() {
  const one = { time: Date.now(), backend: undefined, error: undefined }
  asked.push(one)
  open++
  const end = (change) => {
    Object.assign(one, change)
    open--
    if (stopped && open === 0) finish()
  }
  const asking = request({ agent: false, host, port: Number(port), path: '/' }, (answer) => {
    let body = ''
    answer.setEncoding('utf8').on('data', (text) => {
      body += text
    })
    answer.on('end', () => end({ backend: body.trim() }))
  })
  asking.setTimeout(3000, () => asking.destroy(new Error('no answer')))
  asking.on('error', (error) => end({ error: error.code ?? error.message })).end()
}

const finish = () => process.stdout.write(`${JSON.stringify(asked)}\n`)
const timer = setInterval(ask, EVERY)
process.stdin
  .on('end', () => {
    stopped = true
    clearInterval(timer)
    if (open === 0) finish()
  })
  .resume()
process.stdout.write('ready\n')
