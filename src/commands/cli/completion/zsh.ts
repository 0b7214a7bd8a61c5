// The script for zsh 5. It works as a file named _xdp in $fpath, and sourced.

import type { Completes, FlagSpec, FlagSpecs } from '../flag.ts'
import type { CommandSpec } from '../specification.ts'
import { GLOBALS, HELP, quote, spellings } from './words.ts'

/** What _arguments would take for its own signs. */
const escapeColons = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll(':', '\\:')
const escapeBrackets = (text: string): string => text.replace(/[[\]\\]/g, '\\$&')

/** The action that completes a value; a blank before a function's name keeps _arguments from adding words of its own. */
function action(completes: Completes | undefined): string {
  switch (completes) {
    case undefined:
      return ' '
    case 'file':
      return '_files'
    case 'directory':
      return '_files -/'
    case 'interface':
      return ' _xdp_interfaces'
    case 'instance':
      return ' _xdp_instances'
    default:
      return ` _xdp_words ${completes.map(escapeColons).join(' ')}`
  }
}

function flagSpec(name: string, spec: FlagSpec): string {
  const { type, multiple, help, value = 'VALUE', completes } = spec
  const typed = spellings(name, spec)
  const text = `[${escapeBrackets(help)}]${type === 'string' ? `:${escapeColons(value)}:${action(completes)}` : ''}`
  const equals = type === 'string' ? '=' : ''
  if (multiple) return quote(`*--${name}${equals}${text}`)
  if (typed.length === 1) return quote(`--${name}${equals}${text}`)
  const [short, long] = typed
  return `${quote(`(${short} ${long})`)}{${short}${equals && '+'},${long}${equals}}${quote(text)}`
}

const flagSpecs = (flags: FlagSpecs): string[] => Object.entries(flags).map(([name, spec]) => flagSpec(name, spec))

function branch({ name, flags, argument }: CommandSpec): string {
  const positional = argument ? [quote(`:${escapeColons(argument.name)}:${action(argument.completes)}`)] : []
  const specs = ['$globals', ...flagSpecs(flags), ...positional]
  return `        ${name})
          _arguments ${specs.join(' \\\n            ')}
          ;;`
}

export function zshCompletion(commands: readonly CommandSpec[]): string {
  const described = [...commands, HELP].map(({ name, summary }) => `    ${quote(`${name}:${escapeColons(summary)}`)}`)
  return `#compdef xdp
# zsh completion for xdp, made by \`xdp completion zsh\`

_xdp_commands() {
  local -a commands
  commands=(
${described.join('\n')}
  )
  _describe -t commands command commands
}

# A word that ends with a colon is not the end of it.
_xdp_words() {
  local word
  for word in "$@"; do
    if [[ $word == *: ]]; then compadd -S '' -- $word; else compadd -- $word; fi
  done
}

_xdp_interfaces() {
  compadd -- \${\${\${(f)"$(ip -brief link show 2>/dev/null)"}%% *}%%@*}
}

_xdp_instances() {
  compadd -- /sys/fs/bpf/xdp-as-code/*(N/:t)
}

_xdp() {
  local curcontext="$curcontext" state line
  local -a globals
  typeset -A opt_args
  globals=(
    ${flagSpecs(GLOBALS).join('\n    ')}
  )
  _arguments -C $globals ': :_xdp_commands' '*:: :->argument'
  case $state in
    argument)
      case $words[1] in
${commands.map(branch).join('\n')}
        ${HELP.name})
          _arguments $globals ': :_xdp_commands'
          ;;
      esac
      ;;
  esac
}

if [[ $funcstack[1] == _xdp ]]; then
  _xdp "$@"
else
  compdef _xdp xdp
fi
`
}
