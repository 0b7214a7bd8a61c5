// Computes candidates for the last word of a command line; the scripts that shells load ask for them. No command's code
// is loaded, and a line that makes no sense has no candidates.

import { parseArgs } from 'node:util'
import { BPFFS } from '../../../abi/directory.ts'
import type { Completes, FlagSpec, FlagSpecs } from '../flag.ts'
import { GLOBAL_FLAGS } from '../flags.ts'
import { everyFlag } from '../parse.ts'
import { argumentsOf, type CommandSpec, HELP } from '../specification.ts'

/** Names that the host has to be asked for. */
export interface Names {
  readonly interfaces: () => readonly string[]
  /** Instances in the bpffs that is mounted there. */
  readonly instances: (bpffs: string) => readonly string[]
}

interface Candidate {
  readonly word: string
  readonly text?: string
}

/** Files and directories are for the shell to find: it knows about `~`, quotes and links. */
type Offer = readonly Candidate[] | { readonly kind: 'file' | 'directory'; readonly front: string }

/** A command line up to the cursor. */
interface Line {
  readonly current: string
  /** Behind `--` nothing is a flag. */
  readonly isTerminated: boolean
  readonly positionals: readonly string[]
  /** Flags that are there already, by name, with their last values. */
  readonly given: ReadonlyMap<string, string | undefined>
  /** The flag whose value the current word is. */
  readonly pending: string | undefined
  readonly command: CommandSpec | undefined
  readonly flags: FlagSpecs
}

function readLine(words: readonly string[], commands: readonly CommandSpec[]): Line {
  const every = everyFlag(commands)
  const { tokens } = parseArgs({ args: words.slice(0, -1), options: every, strict: false, tokens: true })
  const positionals = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []))
  const options = tokens.flatMap((token) => (token.kind === 'option' ? [token] : []))
  const last = tokens.at(-1)
  const isPending = last?.kind === 'option' && last.value === undefined && every[last.name]?.type === 'string'
  const command = commands.find(({ name }) => name === positionals[0])
  return {
    current: words.at(-1) ?? '',
    isTerminated: tokens.some(({ kind }) => kind === 'option-terminator'),
    positionals,
    given: new Map(options.map(({ name, value }) => [name, value])),
    pending: isPending ? last.name : undefined,
    command,
    flags: { ...GLOBAL_FLAGS, ...command?.flags },
  }
}

/** The flag that the current word names together with its value, and how much of the word is the flag. */
function attached({
  current,
  flags,
}: Line): { readonly spec: FlagSpec | undefined; readonly front: string } | undefined {
  const [front, long] = /^--([^=]+)=/.exec(current) ?? []
  if (front !== undefined && long !== undefined) return { spec: flags[long], front }
  const spec = Object.values(flags).find(({ type, short }) => type === 'string' && short === current[1])
  return spec && current.length > 2 ? { spec, front: current.slice(0, 2) } : undefined
}

function wordsOf(completes: Completes, value: string, { given }: Line, names: Names): readonly string[] {
  if (completes === 'interface') return names.interfaces()
  if (completes === 'instance') return names.instances(given.get('bpffs') ?? BPFFS)
  const begun = 'interface:'
  if (typeof completes === 'string' || !value.startsWith(begun)) return [completes].flat()
  return names.interfaces().map((name) => `${begun}${name}`)
}

/** Candidates for a value; `front` is the part of the current word before it. */
function offerValues(completes: Completes | undefined, front: string, line: Line, names: Names): Offer {
  if (completes === undefined) return []
  if (completes === 'file' || completes === 'directory') return { kind: completes, front }
  const words = wordsOf(completes, line.current.slice(front.length), line, names)
  return words.map((word) => ({ word: front + word }))
}

/** Flags of the command, without those that are given and count once. */
const offerFlags = ({ flags, given }: Line): Candidate[] =>
  Object.entries(flags)
    .filter(([name, { multiple }]) => multiple || !given.has(name))
    .flatMap(([name, { short, help: text }]) => [
      ...(short === undefined ? [] : [{ word: `-${short}`, text }]),
      { word: `--${name}`, text },
    ])

function offerArgument(line: Line, commands: readonly CommandSpec[], names: Names): Offer {
  const { command, positionals } = line
  const listed = commands.map(({ name: word, summary: text }) => ({ word, text }))
  if (positionals.length === 0) return [...listed, { word: HELP.name, text: HELP.summary }]
  if (positionals[0] === HELP.name) return positionals.length > 1 ? [] : listed
  const specs = command ? argumentsOf(command) : []
  const last = specs.at(-1)
  const spec = specs[positionals.length - 1] ?? (last?.multiple ? last : undefined)
  return offerValues(spec?.completes, '', line, names)
}

function offer(words: readonly string[], commands: readonly CommandSpec[], names: Names): Offer {
  const line = readLine(words, commands)
  if (line.pending !== undefined) return offerValues(line.flags[line.pending]?.completes, '', line, names)
  if (line.isTerminated || !line.current.startsWith('-')) return offerArgument(line, commands, names)
  const flag = attached(line)
  return flag ? offerValues(flag.spec?.completes, flag.front, line, names) : offerFlags(line)
}

/**
 * Candidates for the last of the words, one a line, some with a tab and a description. They are not filtered: each
 * shell matches by its user's settings. One that ends with a colon is not the end of the word. `:file` or `:directory`, a tab and
 * the beginning of the word stand for names that the shell finds and puts behind that beginning.
 */
export function complete(words: readonly string[], commands: readonly CommandSpec[], names: Names): string {
  const offered = offer(words, commands, names)
  if ('kind' in offered) return `:${offered.kind}\t${offered.front}\n`
  return offered.map(({ word, text }) => `${word}${text === undefined ? '' : `\t${text}`}\n`).join('')
}
