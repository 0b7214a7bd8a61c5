// Stands before every tool of a laboratory. A batch is one process with many commands; the interceptor can stop between any
// two of them, because its program runs the lines of a batch in parts and joins the answers.

import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Lab } from '../hosts.ts'

const TOOLS = ['bpftool', 'ip', 'flock', 'sh', 'setsid'] as const

/** A process of a tool. */
export interface Call {
  readonly tool: string
  readonly argv: readonly string[]
  /** The commands of a batch; empty for a single command. */
  readonly lines: readonly string[]
}

export interface Answer {
  readonly status: number
  readonly out: string
  readonly err: string
}

/** A place before, between or behind the commands of a process. */
export interface Point {
  readonly call: Call
  /** Number of commands that have run. */
  readonly done: number
  /** Number of commands. */
  readonly of: number
}

/**
 * The effect of a point: the process goes on, leaves out the next command but claims success, hangs, or ends with an answer
 * that is made of the one so far.
 */
export type Fate = 'goes on' | 'leaves out' | 'hangs' | ((before: Answer) => Answer)

/** Commands that change nothing: two in a row have one place between, before and behind them. */
const READS =
  /^(?:map (?:dump|lookup|show) |(?:prog|net|link|addr|route|neigh) (?:show|get) ?|prog run .*(?:table_read|table_digest|xdp_filter|explain|stats_read|counter_read|ban_list) )/

/** Tools that become another program, or whose output is followed while they run. */
const isOpenEnded = ({ tool, argv }: Call): boolean =>
  tool === 'sh' || tool === 'setsid' || (tool === 'flock' && !argv.includes('true')) || argv.includes('monitor')

/** Whether a command changes nothing. */
export const isRead = (line: string): boolean => READS.test(line)

/** The numbers of commands after which a process has a point. */
export function placesOf(call: Call): number[] {
  if (isOpenEnded(call)) return [0]
  const { lines } = call
  if (lines.length === 0) return [0, 1]
  const between = lines.flatMap((line, i) => (i > 0 && !(isRead(line) && isRead(lines[i - 1] as string)) ? [i] : []))
  return [0, ...between, lines.length]
}

/** The words of a command without what differs from run to run. */
export const nameOf = ({ call, done, of }: Point): string => {
  const line = call.lines[Math.min(done, of - 1)] ?? call.argv.join(' ')
  const words = line.replace(/\/\S*\/(?=[^/\s]+)/g, '').replace(/\bvalue hex.*|\bdata_in.*| map name .*/, '')
  return `${call.tool} ${words.slice(0, 80)} ${done === of ? '(after)' : ''}`.trim()
}

export class Interceptor {
  readonly #server: Server
  readonly #directory: string
  readonly #program: string
  /** All points so far. */
  points: Point[] = []
  /** Is asked at every point. */
  decide: ((point: Point, number: number) => Promise<Fate>) | undefined

  private constructor(lab: Lab, server: Server) {
    this.#server = server
    this.#directory = join(lab.directory, 'tools')
    this.#program = join(lab.directory, 'intercept')
  }

  static async open(lab: Lab): Promise<Interceptor> {
    const source = join(import.meta.dirname, 'intercept.c')
    const server = createServer()
    const interceptor = new Interceptor(lab, server)
    execFileSync('clang', ['-O2', '-o', interceptor.#program, source])
    mkdirSync(interceptor.#directory)
    for (const tool of TOOLS) linkSync(interceptor.#program, join(interceptor.#directory, tool))
    server.on('connection', (socket) => {
      // A killed process closes its socket; the test goes on.
      socket.on('error', () => undefined)
      void interceptor.#serve(socket).catch(() => socket.destroy())
    })
    await new Promise<void>((resolve) => server.listen(join(lab.directory, 'crash.sock'), resolve))
    return interceptor
  }

  close(): void {
    this.#server.close()
  }

  async #serve(socket: Socket): Promise<void> {
    const reader = new Reader(socket)
    const call = parseCall(await reader.bytes(await reader.number()))
    const { decide } = this
    if (!decide) {
      socket.end('exec\n')
      return
    }
    const of = Math.max(1, call.lines.length)
    const first = this.points.length
    const own = placesOf(call).map((done): Point => ({ call, done, of }))
    this.points.push(...own)
    const answers: Answer[] = []
    let ran = 0
    for (const [i, point] of own.entries()) {
      if (!this.isDue(first + i)) continue
      if (point.done > ran) answers.push(await run(socket, reader, ran, point.done))
      ran = point.done
      const fate = (await this.decide?.(point, first + i)) ?? 'goes on'
      if (fate === 'hangs') {
        socket.write('hang\n')
        return
      }
      if (typeof fate === 'function') {
        say(socket, fate(joinAnswers(answers)))
        return
      }
      if (fate === 'leaves out') {
        answers.push(call.lines.length > 0 ? SUCCESS : NOTHING)
        ran++
      }
    }
    if (answers.length === 0) {
      socket.end('exec\n')
      return
    }
    if (ran < of) answers.push(await run(socket, reader, ran, of))
    say(socket, joinAnswers(answers))
  }

  /** Whether to stop at a point. */
  isDue: (number: number) => boolean = () => false
}

async function run(socket: Socket, reader: Reader, from: number, to: number): Promise<Answer> {
  socket.write(`run ${from} ${to}\n`)
  const status = await reader.number()
  const out = (await reader.bytes(await reader.number())).toString()
  const err = (await reader.bytes(await reader.number())).toString()
  return { status, out, err }
}

function say(socket: Socket, { status, out, err }: Answer): void {
  socket.end(`say ${status} ${Buffer.byteLength(out)} ${Buffer.byteLength(err)}\n${out}${err}`)
}

/** bpftool adds an element without a command for an errno that libbpf left behind, and ends with a status that is not 0. */
const EXTRA = /,\{"output":\{"error":"[^"]*"\}\}\]\s*$/

const NOTHING: Answer = { status: 0, out: '', err: '' }
/** The answer of a batch to a command that prints nothing. */
const SUCCESS: Answer = { status: 0, out: '[{"command":[],"output":null}]', err: '' }

/** Joins the answers to parts of a batch: arrays of bpftool, or lines of ip. */
export function joinAnswers(answers: readonly Answer[]): Answer {
  const [first, ...more] = answers
  if (first === undefined) return NOTHING
  if (more.length === 0) return first
  const isArray = answers.every(({ out }) => out.trim() === '' || out.trimStart().startsWith('['))
  const elements = answers
    .map(({ out }, i) => (i < more.length ? out.replace(EXTRA, ']') : out).trim().slice(1, -1))
    .filter((part) => part !== '')
  const out = isArray ? `[${elements.join(',')}]` : answers.map((one) => one.out).join('')
  return { status: answers.at(-1)?.status ?? 0, out, err: answers.map(({ err }) => err).join('') }
}

function parseCall(bytes: Buffer): Call {
  const count = bytes.readUInt32LE(0)
  const words: string[] = []
  let at = 4
  for (let i = 0; i < count; i++) {
    const end = bytes.indexOf(0, at)
    words.push(bytes.toString('utf8', at, end))
    at = end + 1
  }
  const [tool = '', ...argv] = words
  const lines = bytes.toString('utf8', at).split('\n')
  return { tool, argv, lines: lines.slice(0, -1) }
}

/** Numbers and bytes from a socket. */
class Reader {
  readonly #chunks: AsyncIterator<Buffer>
  #rest = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  async bytes(count: number): Promise<Buffer> {
    while (this.#rest.length < count) {
      const { value, done } = await this.#chunks.next()
      if (done) throw new Error('the tool has ended')
      this.#rest = Buffer.concat([this.#rest, value])
    }
    const bytes = this.#rest.subarray(0, count)
    this.#rest = this.#rest.subarray(count)
    return bytes
  }

  async number(): Promise<number> {
    return (await this.bytes(4)).readUInt32LE(0)
  }
}
