import { describe, expect, test } from 'vitest'
import { GLOBAL_FLAGS } from '../../../src/commands/cli/flags.ts'
import { renderCommandHelp } from '../../../src/commands/cli/help.ts'
import { parseArguments } from '../../../src/commands/cli/parse.ts'
import type { CommandSpec } from '../../../src/commands/cli/specification.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { XdpError } from '../../../src/diagnostics.ts'

/** The error of the parser, as `message (hint)`. */
function objection(...argv: readonly string[]): string {
  try {
    parseArguments(argv, COMMANDS)
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    expect(error.exit).toBe(64)
    const [only, ...more] = error.diagnostics
    expect(more).toEqual([])
    return `${only?.message} (${only?.hint ?? ''})`
  }
  throw new Error(`${argv.join(' ')} was accepted`)
}

describe('the table', () => {
  test('has one type per flag name, and no command with a global flag', () => {
    const seen = new Map<string, { readonly type: string }>(Object.entries(GLOBAL_FLAGS))
    for (const { flags } of COMMANDS) {
      for (const [name, spec] of Object.entries(flags)) expect(seen.get(name)?.type ?? spec.type).toBe(spec.type)
      for (const name of Object.keys(flags)) expect(Object.keys(GLOBAL_FLAGS)).not.toContain(name)
      for (const [name, spec] of Object.entries(flags)) seen.set(name, spec)
    }
  })

  test('has an example that parses for every command', () => {
    for (const { name, examples } of COMMANDS) {
      expect(examples.length).toBeGreaterThan(0)
      for (const { line } of examples) {
        const [xdp, ...argv] = line.split(/ [|<>] /)[0]?.split(' ') ?? []
        expect(xdp).toBe('xdp')
        expect(parseArguments(argv, COMMANDS).command?.name).toBe(name)
      }
    }
  })

  test('loads every command', async () => {
    for (const { load } of COMMANDS) expect((await load()).run).toBeTypeOf('function')
  })
})

describe('flags', () => {
  test('may stand before or after the command', () => {
    const before = parseArguments(['--json', '-f', 'a.yaml', 'plan', '--full'], COMMANDS)
    const after = parseArguments(['plan', '--full', '--file=a.yaml', '--json'], COMMANDS)
    expect(before).toEqual(after)
    expect(before.flags).toMatchObject({ json: true, file: 'a.yaml', 'no-color': false, bpffs: undefined })
    expect(before.args.options).toMatchObject({ full: true, summary: false, target: [] })
  })

  test('collect values if repeatable, else keep the last', () => {
    const { args, flags } = parseArguments(
      ['plan', '--target', 'policy', '--target=program', '-fa', '-f', 'b'],
      COMMANDS,
    )
    expect(args.options['target']).toEqual(['policy', 'program'])
    expect(flags.file).toBe('b')
  })

  test('end at --', () => {
    expect(parseArguments(['why', '--', '2001:db8::1'], COMMANDS).args.positionals).toEqual(['2001:db8::1'])
  })

  test.each([
    [['plan', '--ful'], '--ful is not a known flag (did you mean --full?)'],
    [['--jsn', 'plan'], '--jsn is not a known flag (did you mean --json?)'],
    [['plan', '-x'], '-x is not a known flag (`xdp plan --help` lists the flags)'],
    [['apply', '--full'], '--full is not a flag of `xdp apply` (it is a flag of `xdp plan` and `xdp diff`)'],
    [
      ['plan', '--auto-approve'],
      '--auto-approve is not a flag of `xdp plan` (it is a flag of `xdp apply`, `xdp rollback` and `xdp destroy`)',
    ],
    [['plan', '--json=yes'], '--json takes no value, but "yes" was given ()'],
    [['plan', '--file'], '--file needs a value (write --file FILE)'],
    [['plan', '-f', '--json'], '-f needs a value (write -f FILE)'],
    [['plan', '--file='], '--file needs a value (write --file FILE)'],
    [['plan', '--save', 'x'], '--save is not a known flag (`xdp plan --help` lists the flags)'],
  ])('%j', (argv, expected) => {
    expect(objection(...argv)).toBe(expected)
  })
})

describe('commands', () => {
  test.each([
    [['plann'], '"plann" is not a command (did you mean `xdp plan`?)'],
    [['frobnicate'], '"frobnicate" is not a command (`xdp help` lists the commands)'],
    [
      ['plan', 'xdp.yaml'],
      '"xdp.yaml" is one argument too many for `xdp plan` (to name a config: xdp plan -f xdp.yaml)',
    ],
    [['why', '192.0.2.1', '192.0.2.2'], '"192.0.2.2" is one argument too many for `xdp why` (xdp why ADDRESS)'],
  ])('%j', (argv, expected) => {
    expect(objection(...argv)).toBe(expected)
  })

  test('name a missing argument', () => {
    expect(objection('why')).toContain('`xdp why` needs ADDRESS')
  })

  test('take several arguments where the last one may be repeated', () => {
    const { args } = parseArguments(['ban', '192.0.2.1', '--for', '10m', '2001:db8::/32'], COMMANDS)
    expect(args).toMatchObject({ positionals: ['192.0.2.1', '2001:db8::/32'], options: { for: '10m' } })
    const unban = COMMANDS.find(({ name }) => name === 'unban') as CommandSpec
    expect(renderCommandHelp(unban)).toContain('Usage: xdp unban [ADDRESS...] [FLAGS]')
  })

  test('need no argument with help', () => {
    expect(parseArguments(['why', '--help'], COMMANDS).flags.help).toBe(true)
    expect(parseArguments(['help', 'why'], COMMANDS)).toMatchObject({ flags: { help: true }, command: { name: 'why' } })
    expect(parseArguments(['help'], COMMANDS)).toMatchObject({ flags: { help: true }, command: undefined })
    expect(objection('help', 'plann')).toContain('did you mean `xdp plan`?')
  })

  test('may be missing', () => {
    expect(parseArguments([], COMMANDS).command).toBeUndefined()
  })
})
