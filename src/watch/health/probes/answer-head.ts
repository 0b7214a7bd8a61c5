// The head of an HTTP answer, made strict: browsers accept lines that end in LF alone, and repeated equal Content-Length
// fields (RFC 9112 §2.2, RFC 9110 §8.6), which the parser of Node refuses. A backend that serves browsers well must not
// fail its check for that.

import type { Socket } from 'node:net'
import { Duplex, Transform } from 'node:stream'

/** The end of a head: an empty line. */
const END = /\r?\n\r?\n$/
const FIELD = /^([^:\s]+):[ \t]*(.*?)[ \t]*$/

/** A head without its empty line, with CRLF at the end of each line, and one Content-Length at most where all agree. */
export function strictHead(head: string): string {
  const lines = head.split(/\r?\n/)
  const fields = lines
    .map((line) => FIELD.exec(line))
    .map((found) => ({ name: found?.[1]?.toLowerCase(), value: found?.[2] }))
  const lengths = fields.flatMap(({ name, value }) =>
    name === 'content-length' ? (value ?? '').split(/[ \t]*,[ \t]*/) : [],
  )
  // RFC 9112 §6.3: a coding overrides a length.
  const isCoded = fields.some(({ name }) => name === 'transfer-encoding')
  if (lengths.length < 2 && !(isCoded && lengths.length > 0)) return lines.join('\r\n')
  const [length] = lengths
  if (!isCoded && lengths.some((other) => other !== length)) return lines.join('\r\n')
  const others = lines.filter((_, i) => fields[i]?.name !== 'content-length')
  return [...others, ...(isCoded ? [] : [`Content-Length: ${length}`])].join('\r\n')
}

/** Most interim answers (1xx) before the answer. */
const MOST_INTERIM = 16

/**
 * Returns a function that finds the empty line at the end of a head, across chunks: the offset behind it, or -1. It looks at
 * each byte once, because a backend may send them one by one.
 */
function headEnd(): (chunk: Buffer) => number {
  let seen: 'text' | 'line' | 'return' = 'text'
  return (chunk) => {
    for (const [i, byte] of chunk.entries()) {
      const isEnd = byte === 0x0a && seen !== 'text'
      seen = isEnd ? 'text' : byte === 0x0a ? 'line' : byte === 0x0d && seen === 'line' ? 'return' : 'text'
      if (isEnd) return i + 1
    }
    return -1
  }
}

/**
 * The connection with the head of each answer made strict; the body stays. A longer head passes as it is. A longer answer
 * ends the connection with an error, and so do many interim answers: reading them would delay other checks.
 */
export function withStrictHead(
  socket: Socket,
  { head: longest, answer: most }: { readonly head: number; readonly answer: number },
): Duplex {
  let parts: Buffer[] = []
  let [size, total, interim, isBody] = [0, 0, 0, false]
  let endOf = headEnd()
  const take = (): Buffer => {
    const head = Buffer.concat(parts)
    parts = []
    size = 0
    return head
  }
  const passHead = (to: Transform): void => {
    const text = take().toString('latin1')
    to.push(Buffer.from(`${strictHead(text.replace(END, ''))}\r\n\r\n`, 'latin1'))
    endOf = headEnd()
    // An interim answer has a head of its own.
    isBody = !/^HTTP\/1\.\d 1\d\d(?!\d)/.test(text)
    interim += Number(!isBody)
  }
  const reader = new Transform({
    transform(chunk: Buffer, _, done) {
      total += chunk.length
      if (total > most) return done(new Error('the answer is too long'))
      let rest = chunk
      while (!isBody && rest.length > 0 && interim <= MOST_INTERIM) {
        const end = endOf(rest)
        const part = end < 0 ? rest : rest.subarray(0, end)
        rest = rest.subarray(part.length)
        parts.push(part)
        size += part.length
        isBody = size > longest
        if (isBody) this.push(take())
        else if (end >= 0) passHead(this)
      }
      if (interim > MOST_INTERIM) return done(new Error('the answer has too many interim answers'))
      done(null, isBody && rest.length > 0 ? rest : undefined)
    },
    flush(done) {
      done(null, take())
    },
  })
  // The caller handles errors of the socket.
  socket.on('error', () => reader.destroy())
  const both = Duplex.from({ readable: socket.pipe(reader), writable: socket })
  both.on('error', () => undefined)
  return both
}
