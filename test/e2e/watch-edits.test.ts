// All kinds of file edits, on a real file system; packets show the result.

import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

let lab: Lab
let watching: Watching

const SOURCES = ['192.0.2.2', '192.0.2.3'] as const
type Source = (typeof SOURCES)[number]

/** A config that blocks only this source. */
const blocking = (source: Source): string =>
  `version: 1\ninterfaces: { eth0: {} }\nblocklist: [${source}]\ninclude: [conf.d/*.yaml]\n`

/** The source blocked by the file in force. */
let blocked: Source = SOURCES[0]
const other = (): Source => (blocked === SOURCES[0] ? SOURCES[1] : SOURCES[0])

const at = (...names: readonly string[]): string => join(lab.directory, 'etc', ...names)

/** Waits until packets show that the edit is in force. */
async function expectBlocked(source: Source): Promise<void> {
  blocked = source
  const [passes, drops] = await Promise.all([
    lab.ping('192.0.2.1', { source: other(), count: 1 }),
    lab.ping('192.0.2.1', { source, count: 1, seconds: 0.2 }),
  ])
  expect({ passes, drops }).toEqual({ passes: 1, drops: 0 })
}

async function edited(edit: (text: string) => void | Promise<void>): Promise<void> {
  const wanted = other()
  await edit(blocking(wanted))
  await watching.hear('applied', ({ trigger }) => trigger === 'edit')
  await expectBlocked(wanted)
}

/** Less than the time after which an invalid config is reported: SETTLING in src/watch/edits.ts. */
const UNNOTICED_MS = 450

/** Edits in two steps, a moment apart: no invalid config is reported. A busy machine may stretch the moment; then again. */
async function editedSlowly(moment: number, begin: () => (text: string) => void): Promise<void> {
  for (;;) {
    const before = watching.count('bad-config')
    let took = 0
    await edited(async (text) => {
      const begun = performance.now()
      const finish = begin()
      await setTimeout(moment)
      finish(text)
      took = performance.now() - begun
    })
    if (took < UNNOTICED_MS) return expect(watching.count('bad-config')).toBe(before)
  }
}

beforeAll(async () => {
  lab = new Lab()
  lab.write('etc/conf.d/none.yaml', '{}\n')
  lab.write('etc/xdp.yaml', blocking(blocked))
  watching = await Watching.ready(lab, '-f', 'etc/xdp.yaml', '--debounce', '50ms')
})
afterAll(async () => {
  await watching?.end()
  lab.close()
})

describe('applies a file', () => {
  test('that is written in place', () => edited((text) => writeFileSync(at('xdp.yaml'), text)))

  test('that is emptied, and written a moment later', () =>
    editedSlowly(200, () => {
      const file = openSync(at('xdp.yaml'), 'r+')
      ftruncateSync(file)
      return (text) => {
        writeSync(file, text)
        closeSync(file)
      }
    }))

  test('that is replaced by a rename', () =>
    edited((text) => {
      writeFileSync(at('xdp.yaml.new'), text)
      renameSync(at('xdp.yaml.new'), at('xdp.yaml'))
    }))

  test('that is deleted and created again', () =>
    editedSlowly(100, () => {
      rmSync(at('xdp.yaml'))
      return (text) => writeFileSync(at('xdp.yaml'), text)
    }))

  test('that vim writes, with swap and backup files', () =>
    edited((text) => {
      writeFileSync(at('.xdp.yaml.swp'), 'b0VIM')
      writeFileSync(at('4913'), '')
      rmSync(at('4913'))
      renameSync(at('xdp.yaml'), at('xdp.yaml~'))
      writeFileSync(at('xdp.yaml'), text)
      rmSync(at('xdp.yaml~'))
      rmSync(at('.xdp.yaml.swp'))
    }))

  test('that is written through a hard link in another directory', () =>
    edited((text) => {
      mkdirSync(join(lab.directory, 'elsewhere'))
      linkSync(at('xdp.yaml'), join(lab.directory, 'elsewhere/file'))
      writeFileSync(join(lab.directory, 'elsewhere/file'), text)
    }))

  test('whose directory is replaced', () =>
    edited((text) => {
      mkdirSync(join(lab.directory, 'new/conf.d'), { recursive: true })
      writeFileSync(join(lab.directory, 'new/conf.d/none.yaml'), '{}\n')
      writeFileSync(join(lab.directory, 'new/xdp.yaml'), text)
      renameSync(join(lab.directory, 'etc'), join(lab.directory, 'old'))
      renameSync(join(lab.directory, 'new'), join(lab.directory, 'etc'))
    }))

  test('of a ConfigMap, which swaps the link to a directory', async () => {
    const swap = (version: string, text: string): void => {
      mkdirSync(at(version))
      writeFileSync(at(version, 'xdp.yaml'), text)
      symlinkSync(version, at('..data_tmp'))
      renameSync(at('..data_tmp'), at('..data'))
    }
    await edited((text) => {
      swap('..1', text)
      rmSync(at('xdp.yaml'))
      symlinkSync('..data/xdp.yaml', at('xdp.yaml'))
    })
    await edited((text) => swap('..2', text))
    await edited((text) => {
      swap('..3', text)
      rmSync(at('..2'), { recursive: true })
    })
    // The daemon ignores the old directory, and follows the new target of the link.
    writeFileSync(at('..1/xdp.yaml'), 'nonsense')
    await edited((text) => writeFileSync(at('..3/xdp.yaml'), text))
  })
})

describe('files named by a config', () => {
  const applied = () => watching.hear('applied', ({ trigger }) => trigger === 'edit')
  const passes = (): Promise<number> => lab.ping('192.0.2.1', { source: other(), count: 1 })

  test('follow a pattern', async () => {
    writeFileSync(at('conf.d/more.yaml'), `blocklist: [{ name: more, cidr: ${other()} }]\n`)
    await applied()
    expect(await passes()).toBe(0)
    rmSync(at('conf.d/more.yaml'))
    await applied()
    expect(await passes()).toBe(1)
  })

  test('are watched from the edit that names them until the edit that does not', async () => {
    const lists = join(lab.directory, 'lists')
    mkdirSync(lists)
    writeFileSync(join(lists, 'feed.txt'), '198.51.100.7\n')
    writeFileSync(at('conf.d/feed.yaml'), 'blocklist: [{ name: feed, file: ../../lists/feed.txt }]\n')
    await applied()
    appendFileSync(join(lists, 'feed.txt'), `${other()}\n`)
    await applied()
    expect(await passes()).toBe(0)
    rmSync(at('conf.d/feed.yaml'))
    await applied()
    const before = watching.lines.length
    rmSync(lists, { recursive: true })
    await edited((text) => writeFileSync(at('..3/xdp.yaml'), text))
    expect(watching.lines.slice(before).map(({ event }) => event)).toEqual(['applied'])
  })
})

describe('a mistake', () => {
  test.each([
    ['an empty file', ''],
    ['an invalid config', 'blocklist: [192.0.2.4]\n'],
    ['a truncated file', blocking('192.0.2.2').slice(0, 60)],
  ])('%s is reported once, changes nothing, and ends with the next valid file', async (_, text) => {
    const before = watching.count('bad-config')
    writeFileSync(at('..3/xdp.yaml'), text)
    const { errors } = await watching.hear('bad-config')
    expect(errors?.[0]).toMatchObject({ code: expect.stringMatching(/^E0/) })
    appendFileSync(at('..3/xdp.yaml'), '\n')
    await expectBlocked(blocked)
    writeFileSync(at('..3/xdp.yaml'), blocking(blocked))
    await watching.hear('config-fixed')
    await edited((next) => writeFileSync(at('..3/xdp.yaml'), next))
    expect(watching.count('bad-config')).toBe(before + 1)
  })

  test('shows in status with its place, and so does a missing file', async () => {
    rmSync(at('xdp.yaml'))
    await watching.hear('bad-config')
    const { watch } = JSON.parse(await lab.ok('status', '--json'))
    expect(watch).toMatchObject({ pid: watching.pid, ready: true, errors: [{ code: 'E001' }] })
    expect(await lab.ok('status')).toContain('E001 file-missing: etc/xdp.yaml does not exist')
    await expectBlocked(blocked)
    writeFileSync(at('xdp.yaml'), `${blocking(blocked)}x: 1\n`)
    await watching.hear('bad-config', ({ errors }) => errors?.[0]?.at.line === 5)
    expect(await lab.ok('status')).toContain('etc/xdp.yaml:5:1: E010 unknown-key')
    writeFileSync(at('xdp.yaml'), blocking(blocked))
    await watching.hear('config-fixed')
    expect(JSON.parse(await lab.ok('status', '--json')).watch).toMatchObject({ errors: [], failing_since: null })
  })
})
