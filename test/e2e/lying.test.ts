// Tools that answer with nothing, half, or something else: every command ends with one error that names the tool and its
// version, and changes nothing.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { usually } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

let lab: Lab

beforeAll(async () => {
  lab = new Lab([ETH0])
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [192.0.2.2]\n')
  await lab.ok('apply', '--auto-approve')
  await lab.ok('ban', '203.0.113.1')
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [192.0.2.3]\n')
})
afterAll(() => lab.close())

const LIES = {
  nothing: 'cat >/dev/null',
  'half of its answer': 'text=$(cat); printf %s "$text" | head -c $(expr length "$text" / 2)',
  'a warning before it': 'echo "Warning: something"; cat',
  null: 'cat >/dev/null; echo null',
  'a number': 'cat >/dev/null; echo 7',
  'a list of texts': 'cat >/dev/null; echo \'["x"]\'',
} as const

const COMMANDS = [
  ['status'],
  ['plan'],
  ['apply', '--auto-approve'],
  ['why', '192.0.2.3'],
  ['stats'],
  ['bans'],
  ['ban', '203.0.113.2'],
]
const CASES = (['bpftool', 'ip'] as const).flatMap((tool) =>
  Object.entries(LIES).map(([name, filter]) => ({ tool, name, filter })),
)

const isSample = (_: unknown, i: number): boolean => [0, 1, 6].includes(i)

test.each(usually(CASES.filter(isSample), { thoroughly: CASES }))(
  '$tool that answers with $name',
  async ({ tool, filter }) => {
    lab.tool(
      tool,
      `case "$*" in version|-V) exec /usr/sbin/${tool} "$@";; esac
answer=$(mktemp)
/usr/sbin/${tool} "$@" > $answer
status=$?
{ ${filter}; } < $answer
rm $answer
exit $status
`,
    )
    const before = lab.pins()
    try {
      for (const args of COMMANDS) {
        const { exitCode, stdout, stderr } = await lab.xdp(...args)
        const words = args.join(' ')
        expect(stdout + stderr, words).not.toMatch(/E999|internal|at .*\.js:\d|TypeError|SyntaxError/)
        // Commands that do not ask this tool succeed.
        if (exitCode === 0) continue
        expect(stderr, words).toMatch(
          new RegExp(`error\\[E131 tool-answer\\]: ${tool}\\b.*[0-9]\\.[0-9].* gave an unusable answer to`),
        )
        expect([words, exitCode]).toEqual([words, 69])
      }
    } finally {
      lab.realTools()
    }
    expect(lab.pins()).toEqual(before)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  },
)
