// The output of `ipset save`: `create NAME TYPE …` and `add NAME ENTRY …`. Reads the entries of all sets of addresses
// and networks in a file. Refuses sets whose entries hold more than an address (ports, interfaces, pairs), because a
// list would lose that part.

import { type Explanation, explainRange, rangeBuffer, readRange } from '../entries/range.ts'
import { quote } from '../text/show.ts'
import { eachLine, skipSpaces, startsWith, wordEnd } from './lines.ts'
import type { Sink, Text } from './sink.ts'

const TYPES = ['hash:ip', 'hash:net', 'bitmap:ip'] as const

/** Why a list cannot hold the entries of a set; undefined if it can. */
function objection(definition: string): Explanation | undefined {
  const [, name = '', type = '', ...options] = definition.split(/\s+/)
  if (!TYPES.some((known) => known === type)) {
    const message = `the set ${quote(name)} is of type ${quote(type)}, and only ${TYPES.join(', ')} hold plain addresses`
    return { code: 'E037', message, hint: 'save sets of addresses alone: ipset save NAME' }
  }
  const mask = options.find((option) => option === 'netmask' || option === 'bitmask')
  if (mask === undefined) return undefined
  const message = `the set ${quote(name)} has the option ${mask}, which its entries do not show`
  return { code: 'E037', message, hint: 'write its networks as a plain list' }
}

function explain(text: string): Explanation {
  const [word, , entry] = text.split(/\s+/)
  if (word === 'add' && / nomatch(?: |$)/.test(text))
    return { code: 'E020', message: 'a list cannot express the exception of a "nomatch" entry', hint: 'remove it' }
  if (word === 'add' && entry !== undefined) return explainRange(entry)
  return { code: 'E020', message: 'the line is neither "create" nor "add"', hint: 'name a file made by `ipset save`' }
}

/** Adds every entry of the saved sets to `sink`. Returns the number of the line after the last. */
export function readIpset({ bytes, from: start, firstLine }: Text, sink: Sink): number {
  const range = rangeBuffer()
  return eachLine(
    bytes,
    start,
    (line, lineFrom, from, to) => {
      if (startsWith(bytes, from, to, 'add ')) {
        const name = skipSpaces(bytes, from + 4, to)
        const entry = skipSpaces(bytes, wordEnd(bytes, name, to), to)
        const end = wordEnd(bytes, entry, to)
        const exception = end < to && / nomatch(?: |$)/.test(bytes.toString('latin1', end, to))
        if (end > entry && !exception && readRange(bytes, entry, end, range)) sink.add(range, line)
        else sink.bad(line, lineFrom, from, to, explain)
        return
      }
      if (!startsWith(bytes, from, to, 'create ')) {
        sink.bad(line, lineFrom, from, to, explain)
        return
      }
      const refused = objection(bytes.toString('utf8', from, Math.min(to, from + 4096)))
      if (refused !== undefined) sink.refuse(line, lineFrom, from, to, refused)
    },
    firstLine,
  )
}
