// The completion script in a real bash, driven by keys. test/e2e/completion.test.ts covers zsh and fish.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bashCompletion } from '../../../src/commands/cli/completion/bash.ts'
import { GLOBAL_FLAGS } from '../../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { ALL, Shell, STUB, TAB } from '../../support/shell.ts'

const names = COMMANDS.map(({ name }) => name)
const flagsOf = (command: string): string[] => {
  const own = COMMANDS.find(({ name }) => name === command)?.flags ?? {}
  return [...Object.keys(GLOBAL_FLAGS), ...Object.keys(own)].map((flag) => `--${flag}`)
}

let folder = ''
let shell: Shell | undefined

const isThere = (tool: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-bash-'))
  writeFileSync(join(folder, 'my site.yaml'), '')
  mkdirSync(join(folder, 'lists'))
  const rc = `PS1='READY '\nbind 'set bell-style none'\n${STUB}\n${bashCompletion(COMMANDS)}`
  writeFileSync(join(folder, 'rc'), rc)
  if (isThere('bash') && isThere('script'))
    shell = await new Shell('bash --noprofile --rcfile rc -i', { cwd: folder }).ready()
})
afterAll(() => {
  shell?.close()
  rmSync(folder, { recursive: true })
})

const cases: readonly (readonly [string, string])[] = [
  [`${ALL}`, [...names, 'help'].toSorted().join(' ')],
  [`pl${TAB}`, 'plan'],
  [`--json --file x.yaml pl${TAB}`, '--json --file x.yaml plan'],
  // The value of a flag must not count as the command.
  [`--instance plan --lock${TAB}1s app${TAB}`, '--instance plan --lock-timeout 1s apply'],
  [`plan --${ALL}`, `plan ${flagsOf('plan').toSorted().join(' ')}`],
  [`status --${ALL}`, `status ${flagsOf('status').toSorted().join(' ')}`],
  [`plan --fu${TAB}--su${TAB}`, 'plan --full --summary'],
  [`help ${ALL}`, `help ${names.toSorted().join(' ')}`],
  [`why --protocol ${ALL}`, 'why --protocol icmp tcp udp'],
  [`why --protocol=${ALL}`, 'why --protocol=icmp tcp udp'],
  [`import --from ip${ALL}`, 'import --from ipset iptables'],
  [`import --interface l${TAB}`, 'import --interface lo'],
  [`plan --target pol${TAB}`, 'plan --target policy'],
  // readline splits words at colons; the text before the colon must not appear twice.
  [`plan --target inter${TAB}eth0 --target=blockl${TAB}bad`, 'plan --target interface:eth0 --target=blocklist:bad'],
  [`schema statu${TAB}`, 'schema status'],
  [`completion ${ALL}`, 'completion bash fish zsh'],
  // Files with blanks in their names, and behind `=`.
  [`plan -f my${TAB}`, 'plan -f my site.yaml'],
  [`plan --file=my${TAB}--json`, 'plan --file=my site.yaml --json'],
  [`import my${TAB}`, 'import my site.yaml'],
  [`import --output li${TAB}x`, 'import --output lists/x'],
  // Without matches the typed text stays.
  [`why 2001:db8::1 --full${TAB}`, 'why 2001:db8::1 --full'],
  [`ban 192.0.2.1 --ttl ${TAB}1h`, 'ban 192.0.2.1 --ttl 1h'],
  [`status x${TAB}`, 'status x'],
]

test.for(cases)('bash: xdp %j', async ([keys, expected], context) => {
  if (shell === undefined) return context.skip('bash or script of bsdutils is missing')
  expect((await shell.words(`xdp ${keys}`)).trim()).toBe(expected)
})

test('completes the values that help and the schemas name', () => {
  for (const { flags, argument } of COMMANDS) {
    for (const { help, completes } of [...Object.values(flags), ...(argument ? [argument] : [])]) {
      if (Array.isArray(completes)) for (const word of completes) expect(help).toContain(word)
    }
  }
  const schemas = readdirSync(join(import.meta.dirname, '../../../schemas')).map((file) =>
    file.replace('xdp.schema', 'config.schema').replace('.schema.json', ''),
  )
  const { argument } = COMMANDS.find(({ name }) => name === 'schema') ?? {}
  expect([...(argument?.completes ?? [])].toSorted()).toEqual(schemas.toSorted())
})
