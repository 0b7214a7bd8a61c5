import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { NO_CACHE } from '../../../src/cache/none.ts'
import type { Context } from '../../../src/commands/cli/context.ts'
import { parseArguments } from '../../../src/commands/cli/parse.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { approver } from '../../../src/commands/verbs/approve.ts'
import { plan } from '../../../src/plan/plan.ts'
import { desired, live, PROGRAM, state } from '../../support/states.ts'

const WANTED = state({ policy: 'pass' })
const PLAN = plan(desired(WANTED), live(), PROGRAM)
const NOTHING = { ...PLAN, changes: [] }

interface Situation {
  readonly argv?: readonly string[]
  readonly interactive?: boolean
  readonly answer?: string
  readonly auto?: boolean
}

function ask({ argv = ['apply'], interactive = true, answer = '', auto = false }: Situation) {
  const seen = { stdout: '', stderr: '', questions: 0 }
  const append =
    (stream: 'stdout' | 'stderr') =>
    (text: string): void => {
      seen[stream] += text
    }
  const context: Context = {
    flags: parseArguments(argv, COMMANDS).flags,
    cache: NO_CACHE,
    isRoot: false,
    host: { bpffs: '/sys/fs/bpf', instance: 'default', lockTimeoutMs: 0 },
    stdin: () => Readable.from([]),
    stdout: append('stdout'),
    stderr: append('stderr'),
    color: { stdout: false, stderr: false },
    isTerminal: false,
    onHangup: () => undefined,
    outlive: () => new AbortController().signal,
    interactive,
    prompt: async (question) => {
      seen.questions++
      seen.stderr += question
      return answer
    },
    readInput: async () => new Uint8Array(0),
  }
  const approve = approver(context, {
    command: 'apply',
    question: 'Apply these changes?',
    auto,
    show: () => 'THE PLAN\n',
  })
  return { approve: (which = PLAN) => approve(which, live()), seen }
}

test.each([
  ['yes', true],
  [' yes ', true],
  ['y', false],
  ['YES', false],
  ['', false],
])('the answer "%s" approves: %s', async (answer, expected) => {
  const { approve, seen } = ask({ answer })
  expect(await approve()).toBe(expected)
  expect(seen).toEqual({
    stdout: 'THE PLAN\n\n',
    stderr: "Apply these changes? Only 'yes' is accepted: ",
    questions: 1,
  })
})

test('--auto-approve shows the plan and does not ask', async () => {
  const { approve, seen } = ask({ auto: true, interactive: false })
  expect(await approve()).toBe(true)
  expect(seen).toEqual({ stdout: 'THE PLAN\n\n', stderr: '', questions: 0 })
})

test('without a terminal, the error names the missing flag', async () => {
  const { approve } = ask({ interactive: false })
  await expect(approve()).rejects.toMatchObject({
    exit: 64,
    diagnostics: [{ hint: expect.stringContaining('--auto-approve') }],
  })
})

test('with --json the plan goes to stderr', async () => {
  const { approve, seen } = ask({ argv: ['apply', '--json'], answer: 'yes' })
  expect(await approve()).toBe(true)
  expect(seen.stdout).toBe('')
  expect(seen.stderr).toContain('THE PLAN')
})

test('approves removing leftovers without asking', async () => {
  const { approve, seen } = ask({ interactive: false })
  expect(await approve(NOTHING)).toBe(true)
  expect(seen.questions).toBe(0)
})
