// Readers beside applies: `status`, `stats`, `why` and `bans` while one apply after the other replaces the generation.

import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, readFileSync, realpathSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sample, usually } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

const APPLIES = usually(3, { thoroughly: 8 })
const BANNED = '198.51.100.66'
const ALWAYS = '203.0.113.1'

/** Each policy blocks `ALWAYS`, in a list of another name, and one more address. */
const policy = (number: number): string => `version: 1
interfaces: { eth0: {} }
blocklist:
  - { name: list-${number % 2}, cidrs: [${ALWAYS}, 203.0.113.${10 + number}] }
`

let lab: Lab
beforeAll(async () => {
  lab = new Lab([ETH0])
  lab.write('xdp.yaml', policy(0))
  await lab.ok('apply', '--auto-approve')
  await lab.ok('ban', BANNED)
})
afterAll(() => lab.close())

interface Reading {
  readonly words: readonly string[]
  readonly accepts: (answer: never) => void
}

const LIST = /^list-[01]$/
const READINGS: readonly Reading[] = [
  {
    words: ['status'],
    accepts: ({ lists, interfaces, drifted, bans }: { [key: string]: { length: number }[] & { live?: number } }) => {
      expect(drifted).toEqual([])
      expect(lists).toEqual([expect.objectContaining({ name: expect.stringMatching(LIST), prefixes: 2 })])
      expect(interfaces).toEqual([expect.objectContaining({ name: 'eth0' })])
      expect(bans).toEqual(1)
    },
  },
  {
    words: ['stats'],
    accepts: ({ lists, interfaces, drifted }: { [key: string]: unknown }) => {
      expect(drifted).toEqual([])
      expect(lists).toEqual([expect.objectContaining({ name: expect.stringMatching(LIST), prefixes: 2 })])
      expect(interfaces).toEqual([expect.objectContaining({ name: 'eth0' })])
    },
  },
  {
    words: ['why', ALWAYS, '--interface', 'eth0'],
    accepts: ({ live }: { live: unknown }) => {
      const list = expect.stringMatching(LIST)
      expect(live).toMatchObject({ verdict: 'drop', reason: 'blocklist', list, proven: true })
    },
  },
  {
    words: ['bans'],
    accepts: ({ bans }: { bans: unknown }) => expect(bans).toMatchObject([{ address: BANNED }]),
  },
]

test('every reading beside applies answers as if it were alone', async () => {
  let isOver = false
  const readers = READINGS.map(async ({ words, accepts }) => {
    let readings = 0
    do {
      accepts(JSON.parse(await lab.ok(...words, '--json')) as never)
      readings++
    } while (!isOver)
    return readings
  })
  const applies = (async () => {
    const before = JSON.parse(await lab.ok('status', '--json')).generation
    for (let number = 1; number <= APPLIES; number++) {
      lab.write('xdp.yaml', policy(number))
      await lab.ok('apply', '--auto-approve')
    }
    isOver = true
    return JSON.parse(await lab.ok('status', '--json')).generation - before
  })()
  const all = await Promise.all([applies, ...readers]).finally(() => {
    isOver = true
  })
  const [generations, ...readings] = all
  expect(generations).toBe(APPLIES)
  for (const count of readings) expect(count).toBeGreaterThan(1)
})

/**
 * Words that run a command where `bpftool` is a script: before its call number `$AT` it applies the next policy, so that
 * the generation under the command is gone. A private mount namespace keeps the script from other processes.
 */
function switchingAt(call: number): string[] {
  const real = realpathSync(execFileSync('sh', ['-c', 'command -v bpftool'], { encoding: 'utf8' }).trim())
  const copy = `${lab.directory}/bpftool.real`
  cpSync(real, copy)
  const calls = lab.write('calls', '0\n')
  const apply = lab.argv('apply', '--auto-approve', '--lock-timeout', '0s').slice(2)
  const script = lab.write(
    'bpftool.sh',
    `#!/bin/sh
read -r n < '${calls}'
echo $((n + 1)) > '${calls}'
if [ "$n" = ${call} ]; then
  (cd '${lab.directory}' && ${apply.map((word) => `'${word}'`).join(' ')}) > '${lab.directory}/apply.log' 2>&1
fi
exec '${copy}' "$@"
`,
  )
  chmodSync(script, 0o755)
  return ['unshare', '-m', 'sh', '-c', 'mount --bind "$0" "$1" && shift && exec "$@"', script, real]
}

test.each(sample(READINGS, 2))(
  '$words.0 answers if a generation is replaced before any call of bpftool',
  async ({ words, accepts }) => {
    let replaced = 0
    for (let call = 0; ; call++) {
      lab.write('xdp.yaml', policy(APPLIES + call + 1))
      const before = JSON.parse(await lab.ok('status', '--json')).generation
      const within = switchingAt(call)
      const { exitCode, stdout, stderr } = await lab.xdpWithin(within, ...words, '--json')
      expect({
        exitCode,
        stderr,
        log: exitCode === 0 ? '' : readFileSync(`${lab.directory}/apply.log`, 'utf8'),
      }).toEqual({ exitCode: 0, stderr: '', log: '' })
      accepts(JSON.parse(stdout) as never)
      replaced += JSON.parse(await lab.ok('status', '--json')).generation - before
      // Fewer calls than that.
      if (Number(readFileSync(`${lab.directory}/calls`, 'utf8')) <= call) break
    }
    // `bans` holds the lock, so no apply disturbs it.
    expect(replaced).toBeGreaterThan(words[0] === 'bans' ? -1 : 0)
  },
)
