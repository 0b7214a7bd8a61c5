// The script for fish 3.

import type { Completes, FlagSpec, FlagSpecs } from '../flag.ts'
import type { CommandSpec } from '../specification.ts'
import { GLOBALS, HELP, valueFlags } from './words.ts'

/** Text between single quotes, as fish reads it. */
const quote = (text: string): string => `'${text.replace(/['\\]/g, '\\$&')}'`

/** Flags of `complete` that say what a value is: -r there is one, -x it is no file. */
function valueFlag(completes: Completes | undefined): string {
  switch (completes) {
    case undefined:
      return '-x'
    case 'file':
      return '-r -F'
    case 'directory':
      return "-x -a '(__fish_complete_directories)'"
    case 'interface':
      return "-x -a '(__xdp_interfaces)'"
    case 'instance':
      return "-x -a '(__xdp_instances)'"
    default:
      return `-x -a ${quote(completes.join(' '))}`
  }
}

function flagLine(condition: string, name: string, { type, short, help, completes }: FlagSpec): string {
  const spelled = `${short === undefined ? '' : `-s ${short} `}-l ${name}`
  const value = type === 'string' ? ` ${valueFlag(completes)}` : ''
  return `complete -c xdp${condition} ${spelled}${value} -d ${quote(help)}`
}

const flagLines = (condition: string, flags: FlagSpecs): string[] =>
  Object.entries(flags).map(([name, spec]) => flagLine(condition, name, spec))

function commandLines({ name, flags, argument }: CommandSpec): string[] {
  const condition = ` -n '__xdp_is ${name}'`
  const completes = argument?.completes
  const values = completes === 'file' ? '-F' : valueFlag(completes).replace(/^-[xr] ?/, '')
  return [...flagLines(condition, flags), ...(completes === undefined ? [] : [`complete -c xdp${condition} ${values}`])]
}

export function fishCompletion(commands: readonly CommandSpec[]): string {
  const none = " -n 'not __xdp_command'"
  const names = commands.map(({ name }) => name)
  return `# fish completion for xdp, made by \`xdp completion fish\`

# Prints the command on the line; fails where there is none yet.
function __xdp_command
    set -l tokens (commandline -opc)
    set -l value 0
    for token in $tokens[2..-1]
        if test $value = 1
            set value 0
            continue
        end
        switch $token
            case ${valueFlags(commands).join(' ')}
                set value 1
            case '-*'
            case '*'
                echo $token
                return 0
        end
    end
    return 1
end

function __xdp_is
    test (__xdp_command; or echo -) = $argv[1]
end

function __xdp_interfaces
    ip -brief link show 2>/dev/null | string replace -r '[@ ].*' ''
end

function __xdp_instances
    for directory in /sys/fs/bpf/xdp-as-code/*/
        string replace -r '.*/([^/]+)/$' '$1' $directory
    end
end

complete -c xdp -f
${[...commands, HELP].map(({ name, summary }) => `complete -c xdp${none} -a ${name} -d ${quote(summary)}`).join('\n')}
${flagLines('', GLOBALS).join('\n')}
${commands.flatMap(commandLines).join('\n')}
complete -c xdp -n '__xdp_is ${HELP.name}' -a ${quote(names.join(' '))}
`
}
