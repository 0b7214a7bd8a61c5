// The script for bash 4.3 and later. It needs no bash-completion package. Readline cuts words at `=` and `:`, which our
// words contain, so the script reads the line itself and then takes off what stands before the last cut.

import type { Completes, FlagSpecs } from '../flag.ts'
import type { CommandSpec } from '../specification.ts'
import { GLOBALS, HELP, quote, spellings } from './words.ts'

/** The word for a kind of value in the script: `file`, or `words a b`. */
const kindOf = (completes: Completes | undefined): string => {
  if (completes === undefined) return 'nothing'
  return typeof completes === 'string' ? completes : `words ${completes.join(' ')}`
}

/** Branches of `case "$command $flag"` that tell what the value of each flag is; without `command`, for all of them. */
const branches = (flags: FlagSpecs, command?: string): string[] =>
  Object.entries(flags)
    .filter(([, { type }]) => type === 'string')
    .map(([name, spec]) => {
      const patterns = spellings(name, spec).map((flag) => (command ? `'${command} ${flag}'` : `*' ${flag}'`))
      return `    ${patterns.join(' | ')}) kind=${quote(kindOf(spec.completes))} ;;`
    })

const longFlags = (flags: FlagSpecs): string =>
  Object.keys(flags)
    .map((name) => `--${name}`)
    .join(' ')

export function bashCompletion(commands: readonly CommandSpec[]): string {
  const names = [...commands.map(({ name }) => name), HELP.name].join(' ')
  const withFlags = commands.filter(({ flags }) => Object.keys(flags).length > 0)
  return `# bash completion for xdp, made by \`xdp completion bash\`

# Sets \`kind\` to what follows the flag $2 of the command $1; empty where nothing does.
_xdp_kind() {
  kind=
  case "$1 $2" in
${branches(GLOBALS).join('\n')}
${commands.flatMap(({ name, flags }) => branches(flags, name)).join('\n')}
  esac
}

# Sets \`flags\` to the flags of the command $1.
_xdp_flags() {
  flags='${longFlags(GLOBALS)}'
  case $1 in
${withFlags.map(({ name, flags }) => `    ${name}) flags+=' ${longFlags(flags)}' ;;`).join('\n')}
  esac
}

# Sets \`kind\` to what the argument of the command $1 is.
_xdp_argument() {
  case $1 in
    '') kind='words ${names}' ;;
    ${HELP.name}) kind='words ${commands.map(({ name }) => name).join(' ')}' ;;
${commands.flatMap(({ name, argument }) => (argument ? [`    ${name}) kind=${quote(kindOf(argument.completes))} ;;`] : [])).join('\n')}
    *) kind=nothing ;;
  esac
}

# Adds to COMPREPLY what begins with $2 and is of the kind $1, each with $3 in front.
_xdp_offer() {
  local kind=$1 value=$2 front=$3 found=() one
  case $kind in
    words*) mapfile -t found < <(compgen -W "\${kind#words}" -- "$value") ;;
    file)
      compopt -o filenames 2>/dev/null
      mapfile -t found < <(compgen -f -- "$value")
      ;;
    directory)
      compopt -o filenames 2>/dev/null
      mapfile -t found < <(compgen -d -- "$value")
      ;;
    interface)
      one=$(ip -brief link show 2>/dev/null | sed 's/[@ ].*//')
      mapfile -t found < <(compgen -W "$one" -- "$value")
      ;;
    instance)
      one=$(cd /sys/fs/bpf/xdp-as-code 2>/dev/null && printf '%s\\n' */)
      mapfile -t found < <(compgen -W "\${one//\\//}" -- "$value")
      ;;
  esac
  for one in "\${found[@]}"; do
    [[ $one == *: ]] && compopt -o nospace 2>/dev/null
    COMPREPLY+=("$front$one")
  done
}

_xdp() {
  local line=\${COMP_LINE:0:COMP_POINT} words current command= kind= flags word cut
  local breaks=\${COMP_WORDBREAKS//[^=:]/}
  COMPREPLY=()
  read -a words <<<"$line"
  current=
  if [[ $line != *[[:space:]] ]]; then
    current=\${words[-1]}
    unset 'words[-1]'
  fi
  for word in "\${words[@]:1}"; do
    if [[ -n $kind ]]; then
      kind=
    elif [[ $word == -* ]]; then
      _xdp_kind "$command" "$word"
    elif [[ -z $command && ' ${names} ' == *" $word "* ]]; then
      command=$word
    fi
  done
  if [[ -n $kind ]]; then
    _xdp_offer "$kind" "$current" ''
  elif [[ $current == --*=* ]]; then
    _xdp_kind "$command" "\${current%%=*}"
    _xdp_offer "$kind" "\${current#*=}" "\${current%%=*}="
  elif [[ $current == -* ]]; then
    _xdp_flags "$command"
    _xdp_offer "words $flags" "$current" ''
  else
    _xdp_argument "$command"
    _xdp_offer "$kind" "$current" ''
  fi
  if [[ -n $breaks ]]; then
    cut=\${current%"\${current##*[$breaks]}"}
    COMPREPLY=("\${COMPREPLY[@]#"$cut"}")
  fi
}

complete -F _xdp xdp
`
}
