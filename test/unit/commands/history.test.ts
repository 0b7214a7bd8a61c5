// xdp history without a kernel: no entry waits for a confirmation, so that none is asked.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { beforeEach, describe, expect, test } from 'vitest'
import { main } from '../../../src/commands/main.ts'
import { historyDirectory } from '../../../src/history/place.ts'
import { openHistory } from '../../../src/history/store.ts'
import { writeFiles } from '../../support/config.ts'
import { digestOf, draft, listSource, source } from '../../support/history.ts'
import { check } from '../../support/schemas.ts'

const UID = process.geteuid?.() ?? 0

let state = ''
let bpffs = ''

async function xdp(...argv: readonly string[]) {
  const seen = { stdout: '', stderr: '' }
  const append = (stream: keyof typeof seen) => ({
    isTTY: false,
    write: (text: string): void => {
      seen[stream] += text
    },
  })
  const status = await main({
    argv: ['--bpffs', bpffs, ...argv],
    env: { STATE_DIRECTORY: state },
    stdout: append('stdout'),
    stderr: append('stderr'),
    stdinIsTTY: false,
    stdin: () => Readable.from([]),
    ask: async () => '',
    readInput: async () => new Uint8Array(0),
    signal: new AbortController().signal,
    uid: UID,
  })
  return { status, ...seen }
}

beforeEach(() => {
  state = writeFiles({ 'feed.txt': '203.0.113.1\n' })
  bpffs = writeFiles({ 'xdp-as-code/default/gen-7/policy': '' })
})

const list = () => listSource(join(state, 'feed.txt'))

/** Three applies: by sudo over SSH, by a unit, and a rollback that was interrupted. */
function fill(): void {
  const history = openHistory(historyDirectory(state, bpffs, 'default'), UID)
  history.keep([source('first: 1\n')])
  const files = (text: string) => [
    { path: '/etc/xdp/xdp.yaml', sha256: digestOf(text), modifiedAt: 1, kind: 'config' as const },
  ]
  history.add(draft('first: 1\n', { by: { uid: 0, sudoUser: 'anna', sshClient: '192.0.2.9' } }))
  history.keep([source('second: \u001b[2J\n'), list()])
  history.add(
    draft('second: \u001b[2J\n', {
      by: { uid: 0, unit: 'xdp-watch.service', invocationId: '00ff' },
      files: [
        ...files('second: \u001b[2J\n'),
        { path: list().path, sha256: list().sha256, modifiedAt: 1, kind: 'list' },
        { path: '/etc/xdp/long.txt', sha256: digestOf('long'), modifiedAt: 1, kind: 'list' },
      ],
      distrusted: ['feed'],
    }),
  )
  const overrules = { path: '/etc/xdp/xdp.yaml', sha256: [digestOf('second: \u001b[2J\n')] }
  history.add(draft('first: 1\n', { action: 'rollback', restores: 1, overrules, result: 'running' }))
}

describe('xdp history', () => {
  test('lists applies newest first, and marks the policy in force', async () => {
    fill()
    const { status, stdout } = await xdp('history')
    expect(status).toBe(0)
    const [first, second] = [digestOf('first: 1\n'), digestOf('second: \u001b[2J\n')].map((one) => one.slice(0, 12))
    expect(stdout).toBe(
      `  N  TIME                  RESULT       BY                 CHANGES                    CONFIG
  3  2026-11-29T12:00:00Z  interrupted  uid 0              +0 ~1 -0 (+1 -0 prefixes)  rollback to 1 ${first}
* 2  2026-11-29T12:00:00Z  applied      xdp-watch.service  +0 ~1 -0 (+1 -0 prefixes)  /etc/xdp/xdp.yaml ${second}
  1  2026-11-29T12:00:00Z  applied      anna 192.0.2.9     +0 ~1 -0 (+1 -0 prefixes)  /etc/xdp/xdp.yaml ${first}
`,
    )
    const document = check('history', (await xdp('history', '--json')).stdout)
    expect(document).toMatchObject({
      damaged: [],
      entries: [
        { number: 3, result: 'interrupted', action: 'rollback', restores: 1, in_force: false },
        { number: 2, in_force: true, by: { unit: 'xdp-watch.service', invocation_id: '00ff', ssh_client: null } },
        { number: 1, by: { uid: 0, sudo_user: 'anna', ssh_client: '192.0.2.9' } },
      ],
    })
  })

  test('marks none where the kernel has no policy, as after a destroy', async () => {
    fill()
    rmSync(join(bpffs, 'xdp-as-code'), { recursive: true })
    expect((await xdp('history')).stdout).not.toContain('*')
    const { entries } = check('history', (await xdp('history', '--json')).stdout) as {
      entries: { in_force: boolean }[]
    }
    expect(entries.map(({ in_force }) => in_force)).toEqual([false, false, false])
  })

  test('shows one with its config, and no control character of it', async () => {
    fill()
    expect((await xdp('history', 'show', '2')).stdout).toBe(
      `Apply 2: applied, in force
Time: 2026-11-29T12:00:00Z
By: uid 0, unit xdp-watch.service
Config: /etc/xdp/xdp.yaml (sha256 ${digestOf('second: \u001b[2J\n').slice(0, 12)})
Lists with other content than their files: feed
Not kept: /etc/xdp/long.txt
Changes: 0 created, 1 updated, 0 deleted (+1 -0 prefixes)
    ~ list blocklist  hitless (config-changed)

--- /etc/xdp/xdp.yaml
second: \ufffd[2J
`,
    )
    expect(check('history', (await xdp('history', 'show', '2', '--json')).stdout)).toMatchObject({
      not_kept: ['/etc/xdp/long.txt'],
      texts: [{ path: '/etc/xdp/xdp.yaml', text: 'second: \u001b[2J\n' }],
    })
    expect((await xdp('history', 'show', '3')).stdout).toContain(
      'Restores: 1\nOverrules: /etc/xdp/xdp.yaml, as long as that file is as it was\n',
    )
  })

  test('is empty before the first apply, and there is none of a user without state', async () => {
    expect((await xdp('history')).stdout).toBe('The history is empty: no apply has changed anything yet.\n')
    const missing = await xdp('history', 'show', '1')
    expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining('the history is empty')])
  })

  test.each([
    ['a number beyond', 1, 'E235', 'it has 1 to 3', ['history', 'show', '4']],
    ['no number', 64, 'E300', 'is not the number of an apply', ['history', 'show', '1.5']],
    ['zero', 64, 'E300', 'is not the number of an apply', ['history', 'show', '0']],
    ['a missing number', 64, 'E300', 'needs the number', ['history', 'show']],
    ['another word', 64, 'E300', 'did you mean show?', ['history', 'shw', '1']],
    ['too much', 64, 'E300', 'one argument too many', ['history', 'show', '1', '2']],
    ['one side', 64, 'E300', 'needs TO', ['diff', '1']],
  ])('refuses %s', async (_, status, code, text, argv) => {
    fill()
    const refused = await xdp(...argv)
    expect([refused.status, refused.stdout]).toEqual([status, ''])
    expect(refused.stderr).toContain(code)
    expect(refused.stderr).toContain(text)
  })
})
