// Pages of docs that a reader follows with his hands: their commands with the output shown below each, and the files that they
// have him write.
//
// A console block has commands behind a prompt: `$ ` on the host that runs xdp, `client$ ` or `web1$ ` on another one. `> `
// continues a command. A YAML block whose first line is a comment with a path stands for that file.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const page = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)), 'utf8')

export interface Command {
  readonly kind: 'command'
  /** The host of its prompt; empty for the one that runs xdp. */
  readonly host: string
  readonly command: string
  /** The output lines on the page. */
  readonly shown: readonly string[]
}

interface File {
  readonly kind: 'file'
  readonly path: string
  readonly text: string
}

const PROMPT = /^(\w*)\$ (.*)$/

function commandsOf(block: string): Command[] {
  const found: { host: string; command: string; shown: string[] }[] = []
  for (const line of block.trimEnd().split('\n')) {
    const prompt = PROMPT.exec(line)
    const last = found.at(-1)
    if (prompt) found.push({ host: prompt[1] ?? '', command: prompt[2] ?? '', shown: [] })
    else if (last === undefined) throw new Error(`a console block begins without a prompt: ${line}`)
    else if (/^>( |$)/.test(line) && last.shown.length === 0) last.command += `\n${line.slice(2)}`
    else last.shown.push(line)
  }
  return found.map((one) => ({ kind: 'command', ...one }))
}

/** Everything that a reader does, in the order of the page. */
export function stepsOf(text: string): (Command | File)[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, language, block = '']): (Command | File)[] => {
    if (language === 'console') return commandsOf(block)
    const path = /^# (\/\S+)\n/.exec(block)?.[1]
    return path === undefined ? [] : [{ kind: 'file', path, text: block }]
  })
}

export const isCommand = (step: Command | File): step is Command => step.kind === 'command'

/** `…` matches any part of a line; alone on a line it matches any lines. The time of a ping is any time. */
export function patternOf(shown: readonly string[]): RegExp {
  const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const lines = shown
    .map((line) => line.replace(/, time \d+ms$/, ', time …ms'))
    .map((line) => (line === '…' ? '(?:[^\\n]*\\n)*' : `${line.split('…').map(escaped).join('[^\\n]*')}\\n`))
  return new RegExp(`^${lines.join('')}$`)
}

/** Removes warnings about veth devices, which only test hosts have. */
export const withoutPeer = (text: string): string =>
  text
    .replace(/^\S+: warning\[W(?:201|216)(?:.*\n)*?hint: .*\n\n?/gm, '')
    .replace(/^\[WARNING\]: native XDP on(?:.*\n).*attached\n/gm, '')
    .replace(/^warn {2}balancer\.egress .*\n(?: +fix: .*\n)?/gm, '')
