// Candidates for the end of a command line. That shells offer them: test/e2e/completion.test.ts.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pinPaths } from '../../../src/abi/paths.ts'
import { complete, type Names } from '../../../src/commands/cli/completion/complete.ts'
import { HOST_NAMES } from '../../../src/commands/cli/completion/names.ts'
import { SCRIPTS } from '../../../src/commands/cli/completion/scripts.ts'
import { GLOBAL_FLAGS } from '../../../src/commands/cli/flags.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { SCHEMAS } from '../../support/schemas.ts'

const COMMAND_NAMES = COMMANDS.map(({ name }) => name)
const flagsOf = (command: string): string[] => {
  const own = COMMANDS.find(({ name }) => name === command)?.flags ?? {}
  return [...Object.keys(GLOBAL_FLAGS), ...Object.keys(own)].map((flag) => `--${flag}`)
}

const NAMES: Names = {
  interfaces: () => ['lo', 'eth0.10'],
  instances: (bpffs) => (bpffs === '/sys/fs/bpf' ? ['default', 'blue'] : [`of ${bpffs}`]),
}

/** Candidates without their descriptions. `line`: words with a blank between them, the last one up to the cursor. */
const offered = (line: string, names = NAMES): string[] =>
  complete(line.split(' '), COMMANDS, names)
    .split('\n')
    .slice(0, -1)
    .map((candidate) => candidate.split('\t')[0] as string)

const longFlags = (line: string): string[] => offered(line).filter((word) => word.startsWith('--'))

describe('a word is completed to', () => {
  test.each([
    ['', [...COMMAND_NAMES, 'help']],
    ['--json -f x.yaml ', [...COMMAND_NAMES, 'help']],
    ['help ', COMMAND_NAMES],
    // The value of a flag is no command.
    ['--instance plan ', [...COMMAND_NAMES, 'help']],
    ['why --protocol ', ['tcp', 'udp', 'icmp', 'gre', 'esp', 'ah', 'sctp']],
    ['why 192.0.2.1 --protocol=', ['tcp', 'udp', 'icmp', 'gre', 'esp', 'ah', 'sctp'].map((one) => `--protocol=${one}`)],
    ['import --from ', ['ipset', 'nft', 'xdp-filter', 'iptables', 'keepalived', 'ipvsadm']],
    ['plan --target pol', ['policy', 'program', 'interface:', 'blocklist:', 'allowlist:', 'rate_limit:', 'service:']],
    ['plan --target interface:', ['interface:lo', 'interface:eth0.10']],
    ['plan --target=interface:e', ['--target=interface:lo', '--target=interface:eth0.10']],
    ['why --interface ', ['lo', 'eth0.10']],
    ['--instance ', ['default', 'blue']],
    ['plan --bpffs /srv/bpf --instance ', ['of /srv/bpf']],
    ['stats --format ', ['text', 'prometheus']],
    ['completion ', ['bash', 'zsh', 'fish']],
    ['completion -- ', ['bash', 'zsh', 'fish']],
  ])('xdp %s: %j', (line, expected) => expect(offered(line)).toEqual(expected))

  test.each([
    ['plan -f ', ':file\t\n'],
    ['plan --file=my', ':file\t--file=\n'],
    ['plan -fmy', ':file\t-f\n'],
    ['--bpffs ', ':directory\t\n'],
    ['import --output li', ':directory\t\n'],
    ['import ', ':file\t\n'],
  ])('xdp %s: a name that the shell finds, %j', (line, expected) =>
    expect(complete(line.split(' '), COMMANDS, NAMES)).toBe(expected),
  )

  test('flags: those of every command, and of the command that is named', () => {
    expect(longFlags('--')).toEqual(flagsOf(''))
    expect(longFlags('plan --')).toEqual(flagsOf('plan'))
    expect(longFlags('--json plan --')).toEqual(flagsOf('plan').filter((flag) => flag !== '--json'))
    expect(offered('plan -')).toEqual(expect.arrayContaining(['-f', '-h', '--file']))
  })

  test('a flag again only where it may be repeated', () => {
    const flags = longFlags('plan --full -f x.yaml --target policy --')
    expect(flags).toContain('--target')
    expect(flags).not.toContain('--full')
    expect(flags).not.toContain('--file')
  })

  test.each([
    ['status '],
    ['ban 192.0.2.1 --ttl '],
    ['ban 192.0.2.1 --ttl='],
    ['schema plan '],
    ['help plan '],
    ['nonsense '],
    ['plan --nonsense='],
    ['--target '],
    ['ban -- -'],
  ])('nothing: xdp %s', (line) => expect(offered(line)).toEqual([]))

  test('nothing rather than a failure, whatever the words are', () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'plan',
        'why',
        'help',
        '--',
        '-',
        '-f',
        '--target',
        '--file=',
        '-fx',
        '--__proto__',
        'constructor',
      ),
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), (words) => {
        expect(complete(words, COMMANDS, NAMES)).toMatch(/^(?:[^\n]+\n)*$/)
      }),
    )
  })

  test('a command with its summary, a flag with its help', () => {
    expect(complete(['pl'], COMMANDS, NAMES)).toContain('\nplan\tshow what apply would do, and change nothing\n')
    expect(complete(['plan', '-'], COMMANDS, NAMES)).toContain('\n--no-input\tnever prompt\n')
  })
})

describe('names on this host', () => {
  test('are its interfaces', () => expect(HOST_NAMES.interfaces()).toContain('lo'))

  test('are the directories of the bpffs that instances are pinned in; none where there is none', () => {
    const folder = mkdtempSync(join(tmpdir(), 'xdp-names-'))
    try {
      expect(HOST_NAMES.instances(folder)).toEqual([])
      mkdirSync(pinPaths(folder, 'blue').instance, { recursive: true })
      writeFileSync(join(pinPaths(folder, 'blue').root, 'file'), '')
      // bash would put these on the command line, as they are.
      for (const name of ['$(reboot)', '`id`', 'a;b', 'q\u001b[2J', "it's"]) mkdirSync(pinPaths(folder, name).instance)
      expect(HOST_NAMES.instances(folder)).toEqual(['blue'])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

test.each(Object.entries(SCRIPTS))('the script for %s knows no command and no flag', (_shell, script) => {
  expect(script.split('\n').length).toBeLessThanOrEqual(20)
  expect(script).not.toMatch(/\b(?:validate|unban|lock-timeout)\b/)
})

test('completes the values that help and the schemas name', () => {
  for (const { flags, argument } of COMMANDS) {
    for (const { help, completes } of [...Object.values(flags), ...(argument ? [argument] : [])]) {
      if (Array.isArray(completes)) for (const word of completes) expect(help).toContain(word)
    }
  }
  const schemas = readdirSync(SCHEMAS).map((file) =>
    file.replace('xdp.schema', 'config.schema').replace('.schema.json', ''),
  )
  const { argument } = COMMANDS.find(({ name }) => name === 'schema') ?? {}
  expect([...(argument?.completes ?? [])].toSorted()).toEqual(schemas.toSorted())
})
