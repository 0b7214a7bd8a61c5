// The scripts that shells load: a function that asks `xdp` for candidates and hands them on. `command` finds the tool in
// PATH even where an alias or a function has its name.

import { COMPLETE } from '../specification.ts'

/**
 * bash 4.3 and later; bash-completion is not needed. Readline cuts words at `=` and `:`, which ours contain, so the
 * script reads the line itself and then takes off what stands before the last cut.
 */
const BASH = `# bash completion for xdp, made by \`xdp completion bash\`
_xdp() {
  local line=\${COMP_LINE:0:COMP_POINT} breaks=\${COMP_WORDBREAKS//[^=:]/} words found cut= one
  read -a words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  local current=\${words[-1]}
  mapfile -t found < <(command xdp ${COMPLETE} -- "\${words[@]:1}" 2>/dev/null)
  if [[ \${found[0]} == :* ]]; then
    local kind=\${found[0]%%$'\\t'*} front=\${found[0]#*$'\\t'}
    compopt -o filenames
    mapfile -t found < <(compgen -P "$front" -A "\${kind#:}" -- "\${current#"$front"}")
  fi
  [[ -n $breaks ]] && cut=\${current%"\${current##*[$breaks]}"}
  COMPREPLY=()
  for one in "\${found[@]%%$'\\t'*}"; do [[ $one == "$current"* ]] && COMPREPLY+=("\${one#"$cut"}"); done
  [[ \${COMPREPLY[*]} == *: ]] && compopt -o nospace
}
complete -F _xdp xdp
`

/** zsh 5: works as a file named _xdp in $fpath, and sourced. */
const ZSH = `#compdef xdp
# zsh completion for xdp, made by \`xdp completion zsh\`
_xdp() {
  local -a found
  found=(\${(f)"$(command xdp ${COMPLETE} -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)"})
  if [[ $found[1] == :* ]]; then
    compset -P "\${(b)found[1]#*$'\\t'}"
    if [[ $found[1] == :file* ]]; then _files; else _files -/; fi
    return
  fi
  compadd -S '' -- \${(M)found:#*:}
  found=(\${\${\${found:#*:}//:/\\\\:}/$'\\t'/:})
  _describe -t values value found
}
if [[ $funcstack[1] == _xdp ]]; then _xdp; else compdef _xdp xdp; fi
`

/** fish 3. */
const FISH = `# fish completion for xdp, made by \`xdp completion fish\`
function __xdp_complete
    set -l word (commandline -ct)
    set -l found (command xdp ${COMPLETE} -- (commandline -opc)[2..-1] "$word" 2>/dev/null)
    set -l front (string replace -r '.*\\t' '' -- "$found[1]")
    set -l value (string replace -- "$front" '' "$word")
    switch "$found[1]"
        case ':file*'
            set found "$front"(complete -C "'' $value")
        case ':directory*'
            set found "$front"(complete -C "'' $value" | string match -r '^[^\\t]*/(?=\\t|$)')
    end
    string join \\n -- $found
end
complete -c xdp -f -a '(__xdp_complete)'
`

/** By the name of the shell. */
export const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH }
