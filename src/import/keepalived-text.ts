// The text of keepalived.conf → nested statements, each with its place. Format: keepalived.conf(5). Definitions are
// replaced, files included; other means of keepalived to write text with text are refused, not guessed.

import { XdpError } from '../diagnostics.ts'
import { bufferOf, excerpt, type Include, type Input, linePlace, type Place, type Printed } from './source.ts'

/** One statement: its words, and the statements in its braces. */
export interface Statement {
  readonly words: readonly [string, ...string[]]
  readonly place: Place
  /** The condition of the line, such as `@main`: it counts on some hosts only. */
  readonly condition: string | undefined
  /** undefined: it has no braces. */
  block: Statement[] | undefined
}

/** Files within files, and replacements within replacements. */
const DEEPEST = 16
/** Characters of a line after replacements. */
const LONGEST = 65_536

const INCLUDE = /^include[rmwba]?$/

function fail(code: 'E400' | 'E411', { file, line, text }: Place, message: string, hint: string): XdpError {
  const at = { file: file ?? text, line: line ?? 1, column: 1, length: 1 }
  return new XdpError([{ code, severity: 'error', message, hint, at }])
}

/** A part of a line: escaped, quoted, a space, a comment, or any other character. */
const PART = /\\(.)|"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|(\s+)|([#!].*)|(.)/gsu

interface Token {
  readonly text: string
  readonly brace: boolean
}

/** The words and braces of a line, without quotes and comments. */
function tokensOf(line: string, place: Place): Token[] {
  const tokens: Token[] = []
  let word: string | undefined
  const end = (): void => {
    if (word !== undefined) tokens.push({ text: word, brace: false })
    word = undefined
  }
  for (const { 0: all, index, 1: escaped, 2: double, 3: single, 4: space, 5: comment } of line.matchAll(PART)) {
    const quoted = double ?? single
    if (comment !== undefined) break
    if (space !== undefined) end()
    else if (escaped !== undefined || quoted !== undefined)
      word = (word ?? '') + (escaped ?? unescaped(quoted as string))
    else if (all === '"' || all === "'")
      throw fail('E400', place, 'a quote is not closed', `close it with ${all} on this line`)
    else if (isBrace(all, word, line[index + 1])) {
      end()
      tokens.push({ text: all, brace: true })
    } else word = (word ?? '') + all
  }
  end()
  return tokens
}

const unescaped = (text: string): string => text.replace(/\\(.)/gsu, '$1')

/** `80{` opens a block, `${name}` does not. */
function isBrace(character: string, word: string | undefined, next: string | undefined): boolean {
  const ends = next === undefined || /[\s#!]/.test(next)
  if (character === '{') return word === undefined || ends
  return character === '}' && (word === undefined || (ends && !word.includes('{')))
}

class TextReader {
  readonly #include: Include | undefined
  readonly #definitions = new Map<string, string>()
  readonly top: Statement[] = []
  /** Blocks that are open, the innermost last. */
  readonly #open: { readonly block: Statement[]; readonly place: Place }[] = []

  constructor(include: Include | undefined) {
    this.#include = include
  }

  readFile(file: Printed, depth: number): void {
    const lines = bufferOf(file).toString('utf8').split('\n')
    for (const [index, line] of lines.entries())
      this.#readLine(line.replace(/\r$/, ''), linePlace(file.name, index + 1), file, depth)
  }

  /** Throws E400 if a block is open. */
  finish(): readonly Statement[] {
    const open = this.#open.at(-1)
    if (open !== undefined) throw fail('E400', open.place, 'the block that begins here has no end', 'close it with `}`')
    return this.top
  }

  #readLine(line: string, place: Place, file: Printed, depth: number): void {
    const definition = /^\s*\$([A-Za-z_]\w*)=(.*)$/.exec(line)
    if (definition) {
      this.#define(definition[1] as string, definition[2] as string, place)
      return
    }
    const text = this.#replaced(line, place, file)
    if (/^\s*~(?:SEQ|LST)/.test(text)) throw this.#unsupported(place, text, 'a sequence block')
    const [, condition, rest = text] = /^\s*@(\^?\S+)\s*(.*)$/.exec(text) ?? []
    let words: string[] = []
    const end = (): Statement | undefined => {
      const [first, ...others] = words
      words = []
      if (first === undefined) return undefined
      const statement: Statement = {
        words: [first, ...others],
        place,
        condition: condition && `@${condition}`,
        block: undefined,
      }
      this.#current().push(statement)
      return statement
    }
    for (const { text: token, brace } of tokensOf(rest, place)) {
      if (!brace) words.push(token)
      else if (token === '{') this.#begin(end() ?? this.#current().at(-1), place)
      else {
        end()
        if (this.#open.pop() === undefined) throw fail('E400', place, 'this `}` closes no block', 'remove it')
      }
    }
    const [keyword = '', pattern = ''] = words
    if (!INCLUDE.test(keyword)) end()
    else this.#readIncluded(pattern, place, file, depth)
  }

  #current(): Statement[] {
    return this.#open.at(-1)?.block ?? this.top
  }

  #begin(statement: Statement | undefined, place: Place): void {
    if (statement === undefined || statement.block !== undefined)
      throw fail('E400', place, 'this `{` follows no keyword', 'remove it')
    statement.block = []
    this.#open.push({ block: statement.block, place })
  }

  #define(name: string, written: string, place: Place): void {
    const value = written.trim()
    if (value.endsWith('\\')) throw this.#unsupported(place, `$${name}`, 'a definition of several lines')
    const [first, ...others] = tokensOf(value, place)
    // A value is text: quotes and braces in it count where it is used.
    this.#definitions.set(name, first === undefined && others.length === 0 ? '' : value.replace(/\s+[#!].*$/, ''))
  }

  /** The line with the values of definitions. An undefined name stays as it is. */
  #replaced(line: string, place: Place, file: Printed): string {
    let text = line
    for (let round = 0; text.includes('$'); round++) {
      const before = text
      text = text.replace(/\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*)(?=\s|$))/g, (all, braced, bare) => {
        const name = braced ?? bare
        if (name === '_PWD') return file.name.replace(/\/?[^/]*$/, '') || '.'
        return this.#definitions.get(name) ?? all
      })
      if (text === before) break
      if (round > DEEPEST || text.length > LONGEST)
        throw this.#unsupported(place, line, 'a definition that refers to itself')
    }
    return text
  }

  #readIncluded(pattern: string, place: Place, file: Printed, depth: number): void {
    if (depth >= DEEPEST) throw fail('E411', place, `more than ${DEEPEST} files include each other`, 'remove the cycle')
    const found = this.#include?.(pattern, file.name)
    if (found === undefined) {
      const message = `cannot read the included file ${excerpt(pattern)}`
      throw fail('E411', place, message, 'put the file there, or remove the line if keepalived does without it')
    }
    for (const one of found) this.readFile(one, depth + 1)
  }

  #unsupported(place: Place, text: string, what: string): XdpError {
    return fail(
      'E411',
      place,
      `${what} is not supported: ${excerpt(text.trim())}`,
      'write out the lines that it stands for',
    )
  }
}

/** The statements at the top of the file. Throws E400 for text that is no configuration, E411 for unsupported text. */
export function readStatements(input: Input): readonly Statement[] {
  const reader = new TextReader(input.include)
  reader.readFile(input, 0)
  return reader.finish()
}
