// A config that names this machine, while its addresses change.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Address } from '../../../src/model/address.ts'
import type { WatchEvent } from '../../../src/report/watch.ts'
import { followEdits } from '../../../src/watch/edits.ts'
import { openConfig } from '../../../src/watch/files/config-file.ts'
import { createClock } from '../../support/clock.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-own-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Addresses that no two of are neighbours. */
const spread = (count: number): Address[] =>
  Array.from({ length: count }, (_, i) => ({ family: 4, words: Uint32Array.of(0xc0000200 + 2 * i) }))

test('64 ranges of addresses are in force, more are one error, however often they change, and fewer end it', async () => {
  const path = join(directory, 'xdp.yaml')
  writeFileSync(
    path,
    'version: 1\ninterfaces: { eth0: {} }\nblocklist:\n  - { cidr: 203.0.113.0/24, destination: host }\n',
  )
  let addresses = spread(64)
  const file = openConfig(path, undefined, undefined, undefined, async () => addresses)
  const clock = createClock()
  const events: WatchEvent[] = []
  const edits = followEdits({
    ...{ scheduler: clock, file, book: { wrong: () => undefined }, emit: (event: WatchEvent) => events.push(event) },
    again: () => void edits.examine(false),
  })
  const readAgain = async () => {
    expect(await file.hasReaddressed()).toBe(true)
    const loaded = await edits.examine(false)
    await clock.pass(1000)
    return loaded
  }
  expect((await edits.examine(false))?.desired.state.lists.size).toBe(1)
  for (const count of [65, 66, 80]) {
    addresses = spread(count)
    expect(await readAgain()).toBeUndefined()
  }
  const errors = events.flatMap((event) => (event.event === 'bad-config' ? event.errors : []))
  expect(errors).toMatchObject([{ code: 'E274', at: { line: 4 } }])
  addresses = spread(3)
  expect(await readAgain()).toBeDefined()
  expect(events.map(({ event }) => event)).toEqual(['bad-config', 'config-fixed'])
  edits.stop()
})
