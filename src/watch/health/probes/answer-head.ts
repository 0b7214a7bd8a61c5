// The head of an HTTP answer, made strict: browsers accept lines that end in LF alone, and repeated equal Content-Length
// fields (RFC 9112 §2.2, RFC 9110 §8.6), which the parser of Node refuses. A backend that serves browsers well must not
// fail its check for that.

import type { Socket } from 'node:net'
import { Duplex, Transform } from 'node:stream'

/** The end of a head: an empty line. */
const END = /\r?\n\r?\n/
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

/**
 * The connection with the head of each answer made strict; the body stays. A head longer than `most` bytes passes as it is.
 */
export function withStrictHead(socket: Socket, most: number): Duplex {
  let head = Buffer.alloc(0)
  let isBody = false
  const reader = new Transform({
    transform(chunk: Buffer, _, done) {
      if (isBody) return done(null, chunk)
      head = Buffer.concat([head, chunk])
      // An interim answer (1xx) has a head of its own.
      for (;;) {
        const text = head.toString('latin1')
        const end = END.exec(text)
        if (!end) break
        this.push(Buffer.from(`${strictHead(text.slice(0, end.index))}\r\n\r\n`, 'latin1'))
        head = head.subarray(end.index + end[0].length)
        isBody = !/^HTTP\/1\.\d 1\d\d(?!\d)/.test(text)
        if (isBody) break
      }
      if (isBody || head.length > most) {
        isBody = true
        this.push(head)
        head = Buffer.alloc(0)
      }
      done()
    },
    flush(done) {
      done(null, head)
    },
  })
  // The caller handles errors of the socket.
  socket.on('error', () => reader.destroy())
  const both = Duplex.from({ readable: socket.pipe(reader), writable: socket })
  both.on('error', () => undefined)
  return both
}
