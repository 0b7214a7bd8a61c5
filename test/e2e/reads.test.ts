// Readers beside applies: `status`, `stats`, `why` and `bans` while one apply after the other replaces the generation.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

const APPLIES = 8
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
