// Parses argv into a command and its flags. Knows the flags of all commands, so that a flag may stand before or after
// the command, and a misplaced one gets a helpful error.

import { parseArgs } from 'node:util'
import { fail, type XdpError } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import type { Arguments, FlagSpec, FlagSpecs, Options } from './flag.ts'
import { GLOBAL_FLAGS } from './flags.ts'
import { COMMAND_HABITS, FLAG_HABITS } from './habits.ts'
import { argumentsOf, type CommandSpec } from './specification.ts'

export interface Invocation {
  readonly flags: Options<typeof GLOBAL_FLAGS>
  /** undefined: no command was named. */
  readonly command: CommandSpec | undefined
  readonly args: Arguments<FlagSpecs>
}

type Values = Record<string, boolean | string | readonly string[] | undefined>

type Commands = readonly CommandSpec[]

/** A flag of several commands has one type in all of them; a test checks that. */
export const everyFlag = (commands: Commands): FlagSpecs =>
  Object.assign({}, GLOBAL_FLAGS, ...commands.map(({ flags }) => flags))

/** `a`, `a and b`, `a, b and c`. */
const listed = (words: readonly string[]): string =>
  [words.slice(0, -1).join(', '), ...words.slice(-1)].filter(Boolean).join(' and ')

const dashed = (name: string): string => (name.length === 1 ? `-${name}` : `--${name}`)

function unknownCommand(word: string, commands: Commands): XdpError {
  const meant = nearest(word, [...commands.map(({ name }) => name), 'help'])
  const usual = meant === undefined ? '`xdp help` lists the commands' : `did you mean \`xdp ${meant}\`?`
  const hint = COMMAND_HABITS[word] ?? usual
  return fail('E300', `"${word}" is not a command`, hint)
}

function unknownFlag(raw: string, name: string, command: CommandSpec | undefined, commands: Commands): XdpError {
  const habit = FLAG_HABITS[name]
  const owners = commands.filter(({ flags }) => name in flags).map((owner) => owner.name)
  if (owners.length > 0) {
    const message = command ? `${raw} is not a flag of \`xdp ${command.name}\`` : `${raw} needs a command`
    return fail('E300', message, habit ?? `it is a flag of ${listed(owners.map((owner) => `\`xdp ${owner}\``))}`)
  }
  if (habit !== undefined) return fail('E300', `${raw} is not a known flag`, habit)
  const known = [...Object.keys(GLOBAL_FLAGS), ...Object.keys(command?.flags ?? everyFlag(commands))]
  const [longer, ...others] = name.length > 1 ? known.filter((one) => one.startsWith(name)) : []
  const meant = longer !== undefined && others.length === 0 ? longer : nearest(name, known)
  const help = command ? `\`xdp ${command.name} --help\` lists the flags` : '`xdp help` lists the flags'
  return fail('E300', `${raw} is not a known flag`, meant === undefined ? help : `did you mean ${dashed(meant)}?`)
}

/** Throws E300 for a missing value, and for a value of a flag that takes none. */
function checkValue(raw: string, spec: FlagSpec, value: string | undefined, inline: boolean | undefined): void {
  if (spec.type === 'boolean') {
    if (value !== undefined) throw fail('E300', `${raw} takes no value, but "${value}" was given`)
    return
  }
  // A flag in place of a value means a forgotten value far more often than a value that begins with a dash.
  if (value === undefined || value === '' || (value.startsWith('-') && value !== '-' && !inline))
    throw fail('E300', `${raw} needs a value`, `write ${raw} ${spec.value ?? 'VALUE'}`)
}

function defaults(specs: FlagSpecs): Values {
  const empty = ({ type, multiple }: FlagSpec) => (type === 'boolean' ? false : multiple ? [] : undefined)
  return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, empty(spec)]))
}

function checkPositionals(command: CommandSpec, positionals: readonly string[]): void {
  const { name } = command
  const specs = argumentsOf(command)
  const usage = `xdp ${[name, ...specs.map((spec) => spec.name)].join(' ')}`
  const missing = specs.find(({ required }, i) => required && positionals.length <= i)
  if (missing) throw fail('E300', `\`xdp ${name}\` needs ${missing.name}: ${missing.help}`, usage)
  const surplus = positionals[specs.length]
  if (surplus === undefined || specs.at(-1)?.multiple) return
  const hint = specs.length > 0 ? usage : `to name a config: xdp ${name} -f ${surplus}`
  throw fail('E300', `"${surplus}" is one argument too many for \`xdp ${name}\``, hint)
}

/**
 * Parses the arguments after `xdp`. Ignores positionals with --help and --version. Throws E300 (exit 64) for unknown,
 * missing and surplus arguments.
 */
export function parseArguments(argv: readonly string[], commands: Commands): Invocation {
  const { tokens } = parseArgs({ args: [...argv], options: everyFlag(commands), strict: false, tokens: true })
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []))
  const [word] = words
  const help = word === 'help'
  const [name, ...positionals] = help ? words.slice(1) : words
  const command = commands.find((candidate) => candidate.name === name)
  if (name !== undefined && command === undefined && name !== 'help') throw unknownCommand(name, commands)

  const flags = defaults(GLOBAL_FLAGS)
  const options = defaults(command?.flags ?? {})
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const own = command?.flags[token.name]
    const spec = own ?? (GLOBAL_FLAGS as FlagSpecs)[token.name]
    if (spec === undefined) throw unknownFlag(token.rawName, token.name, command, commands)
    checkValue(token.rawName, spec, token.value, token.inlineValue)
    const values = own ? options : flags
    const value = token.value ?? true
    values[token.name] = spec.multiple ? [...(values[token.name] as string[]), token.value as string] : value
  }
  if (help) flags['help'] = true
  if (command && !flags['help'] && !flags['version']) checkPositionals(command, positionals)
  // `defaults` has set every flag of the table to a value of its type.
  return {
    flags: flags as unknown as Invocation['flags'],
    command,
    args: { positionals, options: options as Options<FlagSpecs> },
  }
}
