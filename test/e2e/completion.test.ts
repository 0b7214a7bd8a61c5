// The completion scripts in zsh and fish. test/unit/commands/completion.test.ts covers bash.

import { afterAll, beforeAll, describe, expect } from 'vitest'
import { fishCompletion } from '../../src/commands/cli/completion/fish.ts'
import { zshCompletion } from '../../src/commands/cli/completion/zsh.ts'
import { GLOBAL_FLAGS } from '../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { inDepth } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { Machine } from '../support/machine.ts'
import { ALL, Shell, STUB, TAB } from '../support/shell.ts'

const names = [...COMMANDS.map(({ name }) => name), 'help'].toSorted()
const { flags: PLAN = {} } = COMMANDS.find(({ name }) => name === 'plan') ?? {}

/** Sets the prompt, a widget that inserts all matches, and turns questions off. */
const ZSHRC = `PS1='READY '
unset zle_bracketed_paste
fpath=(/srv/admin/functions $fpath)
autoload -Uz compinit; compinit -u -D
${STUB}
all() { _main_complete; compstate[insert]=all; compstate[list]= }
zle -C all complete-word all
bindkey '^[*' all
`

let lab: Lab
let machine: Machine | string = 'not made'
let zsh: Shell | undefined

beforeAll(async () => {
  lab = new Lab()
  machine = await Machine.make({ packages: ['zsh', 'fish'], lab })
  if (typeof machine === 'string') return
  machine.write('/srv/admin/functions/_xdp', zshCompletion(COMMANDS))
  machine.write('/srv/admin/.zshrc', ZSHRC)
  machine.write('/srv/admin/xdp.fish', fishCompletion(COMMANDS))
  machine.write('/srv/admin/my site.yaml', '')
  machine.write('/srv/admin/lists/bad.txt', '')
  machine.write('/srv/admin/rules.txt', '')
  zsh = await new Shell('zsh -i', { within: machine.argv() }).ready()
})
afterAll(async () => {
  zsh?.close()
  if (typeof machine !== 'string') await machine.close()
  lab.close()
})

describe('zsh', () => {
  inDepth.for([
    [`${ALL}`, names.join(' ')],
    [`--json -f x.yaml app${TAB}--auto${TAB}`, '--json -f x.yaml apply --auto-approve'],
    [`plan --fu${TAB}--summ${TAB}`, 'plan --full --summary'],
    [`help ba${ALL}`, 'help ban bans'],
    [`why --protocol ${ALL}`, 'why --protocol icmp tcp udp'],
    [`import --from ip${ALL}`, 'import --from ipset iptables'],
    [`plan --target inter${TAB}eth0`, 'plan --target interface:eth0'],
    [`why 192.0.2.1 --interface e${TAB}`, 'why 192.0.2.1 --interface eth0'],
    [`schema statu${TAB}`, 'schema status'],
    [`completion ${ALL}`, 'completion bash fish zsh'],
    [`plan -f my${TAB}`, 'plan -f my site.yaml'],
    [`import --output li${TAB}x`, 'import --output lists/x'],
    [`import ru${TAB}`, 'import rules.txt'],
    [`ban 192.0.2.1 --ttl ${TAB}1h`, 'ban 192.0.2.1 --ttl 1h'],
  ] as const)('xdp %j', async ([keys, expected], context) => {
    if (typeof machine === 'string') return context.skip(machine)
    expect((await zsh?.words(`xdp ${keys}`))?.trim()).toBe(expected)
  })
})

inDepth('zsh: the script also works when sourced', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const script = 'autoload -Uz compinit; compinit -u -D; source /srv/admin/functions/_xdp; print $_comps[xdp]'
  expect(await machine.ok('zsh', '-f', '-c', script)).toBe('_xdp\n')
})

describe('fish', () => {
  inDepth.for([
    ['', names],
    ['--json -f x.yaml app', ['apply']],
    ['plan --', [...Object.keys(GLOBAL_FLAGS), ...Object.keys(PLAN)].map((flag) => `--${flag}`).toSorted()],
    ['help ba', ['ban', 'bans']],
    ['why --protocol ', ['icmp', 'tcp', 'udp']],
    ['why --protocol=', ['--protocol=icmp', '--protocol=tcp', '--protocol=udp']],
    ['plan --target pro', ['program']],
    ['why --interface e', ['eth0']],
    ['schema sta', ['stats', 'status']],
    ['completion ', ['bash', 'fish', 'zsh']],
    ['plan -f my', ['my site.yaml']],
    ['import --output li', ['lists/']],
    ['import ru', ['rules.txt']],
    ['status ', []],
    ['ban 192.0.2.1 --ttl ', []],
  ] as const)('xdp %s', async ([typed, expected], context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const offered = await machine.ok('fish', '-c', 'source /srv/admin/xdp.fish; complete -C "xdp $argv"', '--', typed)
    const words = offered.split('\n').filter((line) => line !== '')
    expect(words.map((line) => line.split('\t')[0]).toSorted()).toEqual(expected)
  })
})
