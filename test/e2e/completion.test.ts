// Types into real shells that have loaded their scripts and find the built tool. Candidates by themselves:
// test/unit/commands/completion.test.ts.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SCRIPTS } from '../../src/commands/cli/completion/scripts.ts'
import { GLOBAL_FLAGS } from '../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { inDepth } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { Machine } from '../support/machine.ts'
import { ALL, Shell, STUB, TAB } from '../support/shell.ts'

const names = [...COMMANDS.map(({ name }) => name), 'help'].toSorted()

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

const DIST = resolve(import.meta.dirname, '../../dist')

let folder = ''
let bash: Shell | undefined
let lab: Lab
let machine: Machine | string = 'not made'
let zsh: Shell | undefined

const isThere = (tool: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function startBash(): Promise<Shell | undefined> {
  writeFileSync(join(folder, 'my site.yaml'), '')
  mkdirSync(join(folder, 'lists'))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(join(DIST, 'xdp.js'), join(folder, 'bin/xdp'))
  writeFileSync(join(folder, 'rc'), `PS1='READY '\nbind 'set bell-style none'\n${STUB}\n${SCRIPTS['bash']}`)
  if (!isThere('bash') || !isThere('script')) return undefined
  const env = { PATH: `${join(folder, 'bin')}:${process.env['PATH']}`, HOME: folder }
  return new Shell('bash --noprofile --rcfile rc -i', { cwd: folder, env }).ready()
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-bash-'))
  bash = await startBash()
  lab = new Lab()
  machine = await Machine.make({ packages: ['zsh', 'fish'], lab })
  if (typeof machine === 'string') return
  machine.copy(DIST, '/usr/local/lib/xdp')
  machine.write('/usr/local/bin/xdp', '#!/bin/sh\nexec node /usr/local/lib/xdp/xdp.js "$@"\n', 0o755)
  machine.write('/srv/admin/functions/_xdp', SCRIPTS['zsh'] ?? expect.unreachable())
  machine.write('/srv/admin/.zshrc', ZSHRC)
  machine.write('/srv/admin/xdp.fish', SCRIPTS['fish'] ?? expect.unreachable())
  machine.write('/srv/admin/my site.yaml', '')
  machine.write('/srv/admin/lists/bad.txt', '')
  machine.write('/srv/admin/rules.txt', '')
  zsh = await new Shell('zsh -i', { within: machine.argv() }).ready()
})
afterAll(async () => {
  bash?.close()
  zsh?.close()
  if (typeof machine !== 'string') await machine.close()
  lab.close()
  rmSync(folder, { recursive: true })
})

const flagsOf = (command: string): string[] => {
  const own = COMMANDS.find(({ name }) => name === command)?.flags ?? {}
  return [...Object.keys(GLOBAL_FLAGS), ...Object.keys(own)].map((flag) => `--${flag}`).toSorted()
}

const PROTOCOLS = ['ah', 'esp', 'gre', 'icmp', 'sctp', 'tcp', 'udp']

describe('bash', () => {
  test.for([
    [`${ALL}`, names.join(' ')],
    [`pl${TAB}`, 'plan'],
    [`--json --file x.yaml pl${TAB}`, '--json --file x.yaml plan'],
    [`--instance plan --lock${TAB}1s app${TAB}`, '--instance plan --lock-timeout 1s apply'],
    [`plan --${ALL}`, `plan ${flagsOf('plan').join(' ')}`],
    [`status --${ALL}`, `status ${flagsOf('status').join(' ')}`],
    [`plan --fu${TAB}--su${TAB}`, 'plan --full --summary'],
    [`help ba${ALL}`, 'help ban bans'],
    [`why --protocol ${ALL}`, `why --protocol ${PROTOCOLS.join(' ')}`],
    [`why --protocol=${ALL}`, `why --protocol=${PROTOCOLS.join(' ')}`],
    [`import --from ip${ALL}`, 'import --from ipset iptables ipvsadm'],
    [`import --interface l${TAB}`, 'import --interface lo'],
    [`plan --target pol${TAB}`, 'plan --target policy'],
    // A colon is not the end of the word, nor does readline's cut there double what stands before it.
    [`plan --target inter${TAB}l${TAB}--target=blockl${TAB}bad`, 'plan --target interface:lo --target=blocklist:bad'],
    [`schema statu${TAB}`, 'schema status'],
    [`completion ${ALL}`, 'completion bash fish zsh'],
    // Files, with blanks in their names, behind a flag and at home.
    [`plan -f my${TAB}`, 'plan -f my site.yaml'],
    [`plan -f my\\ s${TAB}`, 'plan -f my site.yaml'],
    [`plan -fmy${TAB}`, 'plan -fmy site.yaml'],
    [`plan --file=my${TAB}--json`, 'plan --file=my site.yaml --json'],
    [`import my${TAB}`, 'import my site.yaml'],
    [`import --output li${TAB}x`, 'import --output lists/x'],
    // Nothing to offer: what was typed stays.
    [`why 2001:db8::1 --full${TAB}`, 'why 2001:db8::1 --full'],
    [`ban 192.0.2.1 --ttl ${TAB}1h`, 'ban 192.0.2.1 --ttl 1h'],
    [`status x${TAB}`, 'status x'],
  ] as const)('xdp %j', async ([keys, expected], context) => {
    if (bash === undefined) return context.skip('bash or script of bsdutils is missing')
    expect((await bash.words(`xdp ${keys}`)).trim()).toBe(expected)
  })

  test('completes a path at home', async (context) => {
    if (bash === undefined) return context.skip('bash or script of bsdutils is missing')
    expect(await bash.words(`xdp plan -f ~/my${TAB}`)).toBe(`plan -f ${folder}/my site.yaml`)
  })
})

test('candidates are computed without code that not every command loads', () => {
  const loaded = (file: string, found = new Set<string>()): Set<string> => {
    if (found.has(file)) return found
    found.add(file)
    const text = readFileSync(join(DIST, file), 'utf8')
    for (const [, next = ''] of text.matchAll(/=require\("\.\/([^"]+)"\)/g)) loaded(next, found)
    return found
  }
  // The chunk that all commands share, of which the smallest command loads nothing more.
  const smallest = readdirSync(DIST).find((file) => /^ban-\w+\.js$/.test(file)) ?? ''
  const always = new Set([...loaded('cli.js'), ...loaded(smallest)])
  const lazy = readdirSync(DIST).filter((file) => /^(?:complete|names)-\w+\.js$/.test(file))
  expect(lazy).toHaveLength(2)
  for (const file of lazy) expect([...loaded(file)].filter((other) => !always.has(other))).toEqual([file])
})

describe('zsh', () => {
  inDepth.for([
    [`${ALL}`, names.join(' ')],
    [`--json -f x.yaml app${TAB}--auto${TAB}`, '--json -f x.yaml apply --auto-approve'],
    [`plan --fu${TAB}--summ${TAB}`, 'plan --full --summary'],
    [`help ba${ALL}`, 'help ban bans'],
    [`why --protocol ${ALL}`, `why --protocol ${PROTOCOLS.join(' ')}`],
    [`import --from ip${ALL}`, 'import --from ipset iptables ipvsadm'],
    [`plan --target inter${TAB}eth0`, 'plan --target interface:eth0'],
    [`why 192.0.2.1 --interface e${TAB}`, 'why 192.0.2.1 --interface eth0'],
    [`schema statu${TAB}`, 'schema status'],
    [`completion ${ALL}`, 'completion bash fish zsh'],
    [`plan --target=inter${TAB}e${TAB}`, 'plan --target=interface:eth0'],
    [`why --protocol=t${TAB}`, 'why --protocol=tcp'],
    [`plan -f my${TAB}`, 'plan -f my site.yaml'],
    [`plan --file=my${TAB}--json`, 'plan --file=my site.yaml --json'],
    [`plan -fmy${TAB}`, 'plan -fmy site.yaml'],
    [`plan -f 'my site.yaml' --su${TAB}`, 'plan -f my site.yaml --summary'],
    [`plan -f ~/my${TAB}`, 'plan -f /srv/admin/my site.yaml'],
    [`status x${TAB}`, 'status x'],
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
    ['plan --', flagsOf('plan')],
    ['help ba', ['ban', 'bans']],
    ['why --protocol ', PROTOCOLS],
    ['why --protocol=', PROTOCOLS.map((name) => `--protocol=${name}`)],
    ['plan --target pro', ['program']],
    ['why --interface e', ['eth0']],
    ['schema sta', ['state', 'stats', 'status']],
    ['completion ', ['bash', 'fish', 'zsh']],
    ['plan --target interface:', ['interface:eth0', 'interface:lo']],
    ['plan -f my', ['my site.yaml']],
    ['plan --file=my', ['--file=my site.yaml']],
    ['plan -f ~/my', ['~/my site.yaml']],
    ['plan -fmy', ['-fmy site.yaml']],
    ['import --output=li', ['--output=lists/']],
    ['nonsense ', []],
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
