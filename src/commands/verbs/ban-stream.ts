// xdp ban --stdin and unban --stdin: handles lines as they arrive, so that the stream may be the live output of a program.

import type { Location } from '../../diagnostics.ts'
import { type BanLabels, type BanRequest, parseBanned } from '../../model/ban.ts'
import type { AllowedCuts } from '../../model/contact.ts'
import { openBans } from '../../pipelines/bans.ts'
import type { Context } from '../cli/context.ts'
import type { BanTally } from './ban-report.ts'
import { explainBanned, parseTtl, TTL_HINT } from './ban-words.ts'

/** Most characters of a line that are read, more than any address with a time; the rest is dropped. */
const LONGEST_LINE = 1000

interface Settings {
  readonly op: BanRequest['op']
  readonly labels: BanLabels
  readonly ttlMs: number
  readonly observe?: boolean
  readonly allowed: AllowedCuts
}

interface Line {
  readonly number: number
  readonly text: string
}

/** Yields the lines that each chunk completes. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line[]> {
  const decoder = new TextDecoder()
  let rest = ''
  let number = 0
  for await (const chunk of chunks) {
    const texts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = (texts.pop() ?? '').slice(0, LONGEST_LINE)
    yield texts.map((text) => ({ number: ++number, text: text.slice(0, LONGEST_LINE) }))
  }
  if (rest !== '') yield [{ number: number + 1, text: rest }]
}

function locate({ number, text }: Line, word: string): Location {
  const column = Math.max(0, text.indexOf(word)) + 1
  return { file: 'stdin', line: number, column, length: Math.max(1, word.length), text }
}

/** Parses a line into a request; undefined for an empty line, a comment, and a rejected line. */
async function readLine(
  line: Line,
  { op, ttlMs, observe = false }: Settings,
  tally: BanTally,
): Promise<BanRequest | undefined> {
  const [address, ttl, surplus] = line.text.replace(/#.*/, '').trim().split(/\s+/)
  if (!address) return undefined
  const prefix = parseBanned(address)
  if (!prefix) {
    tally.reject({ ...(await explainBanned(address)), at: locate(line, address) })
    return undefined
  }
  const time = ttl === undefined ? ttlMs : parseTtl(ttl)
  if (time === undefined) {
    tally.reject({ code: 'E013', message: `"${ttl}" is not a time`, hint: TTL_HINT, at: locate(line, ttl ?? '') })
    return undefined
  }
  if (surplus !== undefined) {
    const message = `"${surplus}" is one word too many`
    tally.reject({ code: 'E013', message, hint: 'write ADDRESS [TIME] on each line', at: locate(line, surplus) })
    return undefined
  }
  // unban ignores times, so that a list for ban also works for unban.
  return { op, prefix, ttlMs: op === 'add' ? time : 0, ...(observe ? { observe } : {}) }
}

/** Bans or unbans the addresses on stdin, until the stream ends or the kernel rejects a ban. */
export async function banStream({ host, stdin }: Context, settings: Settings, tally: BanTally): Promise<void> {
  const bans = await openBans(host)
  for await (const lines of linesOf(stdin())) {
    const wanted: { readonly line: Line; readonly request: BanRequest }[] = []
    for (const line of lines) {
      const request = await readLine(line, settings, tally)
      if (request) wanted.push({ line, request })
    }
    if (wanted.length === 0) continue
    const requests = wanted.map(({ request }) => request)
    const outcomes = await bans.change(requests, settings.labels, settings.allowed)
    for (const [i, { line, request }] of wanted.entries()) {
      const outcome = outcomes[i]
      if (outcome) tally.add(request, outcome, locate(line, line.text.trim()))
    }
    if (tally.isFull) return
  }
}
