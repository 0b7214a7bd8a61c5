// argv → which command, with which flags. Every flag of every command is known here, so that a flag may stand before
// or after the command and a wrong one gets an answer that helps.

import { parseArgs } from 'node:util'
import { fail, type XdpError } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import type { Arguments, FlagSpec, FlagSpecs, Options } from './flag.ts'
import { GLOBAL_FLAGS } from './flags.ts'
import type { CommandSpec } from './specification.ts'

export interface Invocation {
  readonly flags: Options<typeof GLOBAL_FLAGS>
  /** undefined: no command was named. */
  readonly command: CommandSpec | undefined
  readonly args: Arguments<FlagSpecs>
}

type Values = Record<string, boolean | string | readonly string[] | undefined>

type Commands = readonly CommandSpec[]

/** Flags that two commands share have the same type in both; a test holds that. */
export const everyFlag = (commands: Commands): FlagSpecs =>
  Object.assign({}, GLOBAL_FLAGS, ...commands.map(({ flags }) => flags))

const dashed = (name: string): string => (name.length === 1 ? `-${name}` : `--${name}`)

function unknownCommand(word: string, commands: Commands): XdpError {
  const meant = nearest(word, [...commands.map(({ name }) => name), 'help'])
  const hint = meant === undefined ? '`xdp help` lists the commands' : `did you mean \`xdp ${meant}\`?`
  return fail('E300', `"${word}" is not a command`, hint)
}

function unknownFlag(raw: string, name: string, command: CommandSpec | undefined, commands: Commands): XdpError {
  const owners = commands.filter(({ flags }) => name in flags).map((owner) => owner.name)
  if (owners.length > 0) {
    const message = command ? `${raw} is not a flag of \`xdp ${command.name}\`` : `${raw} needs a command`
    return fail('E300', message, `it belongs to ${owners.map((owner) => `\`xdp ${owner}\``).join(' and ')}`)
  }
  const meant = nearest(name, [...Object.keys(GLOBAL_FLAGS), ...Object.keys(command?.flags ?? everyFlag(commands))])
  const help = command ? `\`xdp ${command.name} --help\` lists the flags` : '`xdp help` lists the flags'
  return fail('E300', `${raw} is not a known flag`, meant === undefined ? help : `did you mean ${dashed(meant)}?`)
}

/** A flag's value as written. Throws E300 where a value is missing or not wanted. */
function checkValue(raw: string, spec: FlagSpec, value: string | undefined, inline: boolean | undefined): void {
  if (spec.type === 'boolean') {
    if (value !== undefined) throw fail('E300', `${raw} takes no value, but "${value}" was given`)
    return
  }
  // Another flag where the value should be is a forgotten value far more often than a value that begins with a dash.
  if (value === undefined || value === '' || (value.startsWith('-') && !inline))
    throw fail('E300', `${raw} needs a value`, `write ${raw} ${spec.value ?? 'VALUE'}`)
}

function defaults(specs: FlagSpecs): Values {
  const empty = ({ type, multiple }: FlagSpec) => (type === 'boolean' ? false : multiple ? [] : undefined)
  return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, empty(spec)]))
}

function checkPositionals(command: CommandSpec, positionals: readonly string[]): void {
  const { name, argument } = command
  if (argument?.required && positionals.length === 0)
    throw fail('E300', `\`xdp ${name}\` needs ${argument.name}: ${argument.help}`, `xdp ${name} ${argument.name}`)
  const surplus = positionals[argument ? 1 : 0]
  if (surplus === undefined) return
  const hint = argument ? `it takes one ${argument.name}` : 'it takes none; a config is given with -f FILE'
  throw fail('E300', `"${surplus}" is one argument too many for \`xdp ${name}\``, hint)
}

/**
 * Parses the words after `xdp`. Positionals are not checked where help or the version is asked for. Throws XdpError
 * E300 (exit 64) for what is unknown, missing or too much.
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
  // `defaults` has given every flag of the table a value of the type that the table states.
  return {
    flags: flags as unknown as Invocation['flags'],
    command,
    args: { positionals, options: options as Options<FlagSpecs> },
  }
}
