// Renders help from the table of commands, 80 columns wide.

import type { FlagSpec, FlagSpecs } from './flag.ts'
import { GLOBAL_FLAGS } from './flags.ts'
import { argumentsOf, type CommandSpec, type Example, usageOf } from './specification.ts'

const WIDTH = 80

/** Wraps text into lines of at most `width` columns. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** Terms with their explanations beside them, or below where a term is too long. */
function entries(pairs: readonly (readonly [term: string, text: string])[]): string[] {
  const column = Math.min(28, Math.max(...pairs.map(([term]) => term.length)) + 4)
  return pairs.flatMap(([term, text]) => {
    const [first = '', ...rest] = wrap(text, WIDTH - column)
    const indent = ' '.repeat(column)
    const lines = rest.map((line) => indent + line)
    if (term.length + 4 > column) return [`  ${term}`, indent + first, ...lines]
    return [`  ${term}`.padEnd(column) + first, ...lines]
  })
}

function flagTerm(name: string, { short, value }: FlagSpec): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`
}

function flagSection(title: string, specs: FlagSpecs): string[] {
  const pairs = Object.entries(specs).map(([name, spec]) => [flagTerm(name, spec), spec.help] as const)
  return pairs.length === 0 ? [] : ['', title, ...entries(pairs)]
}

const exampleSection = (examples: readonly Example[]): string[] => [
  '',
  'Examples:',
  ...examples.flatMap(({ line, does }) => [`  # ${does}`, `  ${line}`]),
]

const EXIT_LINES = [
  ['0', 'ok: in sync, or applied and verified'],
  ['1', 'failed; the live state is unchanged or restored'],
  ['2', 'changes are pending (--detailed-exitcode of plan and diff only)'],
  ['3', 'failed, and the live state is mixed'],
  ['4', 'refused by a guard'],
  ['64 66 69', 'usage; no such file; the kernel, driver or a tool lacks it'],
  ['70 75 77 78', 'bug in xdp; lock held; not permitted; bad config'],
] as const

/** The introduction in help and in the manual page. */
export const INTRO = {
  summary: 'declarative config-as-code for XDP',
  paragraphs: [
    'One YAML file defines which packets the kernel drops or sends to backends; plan shows the changes, apply makes them and verifies the result.',
  ],
} as const

/** `xdp help`. */
export function renderHelp(commands: readonly CommandSpec[]): string {
  const lines = [
    ...wrap(`xdp: ${INTRO.summary}. ${INTRO.paragraphs.join(' ')}`, WIDTH),
    '',
    'Usage: xdp COMMAND [FLAGS]',
    ...exampleSection([
      { line: 'xdp validate', does: 'check xdp.yaml' },
      { line: 'xdp plan', does: 'show the changes' },
      { line: 'xdp apply', does: 'make the changes' },
      { line: 'xdp why 203.0.113.9', does: 'explain the verdict of packets from an address' },
    ]),
    '',
    'Commands:',
    ...entries(commands.map(({ name, summary }) => [name, summary] as const)),
    ...flagSection('Flags of every command:', GLOBAL_FLAGS),
    '',
    'Exit statuses:',
    ...entries(EXIT_LINES),
    '',
    '`xdp help COMMAND` describes a command.',
  ]
  return `${lines.join('\n')}\n`
}

/** `xdp help COMMAND`. */
export function renderCommandHelp(command: CommandSpec): string {
  const { name, summary, description, flags, examples } = command
  const specs = argumentsOf(command)
  const positional = specs.map((one) => ` ${usageOf(one)}`).join('')
  const lines = [
    `xdp ${name}: ${summary}`,
    '',
    `Usage: xdp ${name}${positional} [FLAGS]`,
    ...description.flatMap((paragraph) => ['', ...wrap(paragraph, WIDTH)]),
    ...exampleSection(examples),
    ...(specs.length > 0 ? ['', specs.length > 1 ? 'Arguments:' : 'Argument:'] : []),
    ...entries(specs.map((one) => [one.name, one.help])),
    ...flagSection('Flags:', flags),
    ...flagSection('Flags of every command:', GLOBAL_FLAGS),
  ]
  return `${lines.join('\n')}\n`
}
