// Files on a real file system: the places to watch, and detecting changes. test/e2e covers the events themselves.
import { linkSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { newReads } from '../../../src/config/text/source.ts'
import type { Address } from '../../../src/model/address.ts'
import { scopeKey } from '../../../src/model/state.ts'
import { parseAddress } from '../../../src/model/text.ts'
import { openConfig } from '../../../src/watch/files/config-file.ts'
import { placesOf } from '../../../src/watch/files/places.ts'
import { HEAD, writeFiles } from '../../support/config.ts'

describe('the places to watch', () => {
  /** Directory → those of `names` that matter there. */
  const placesIn = (root: string, files: readonly string[], patterns: readonly string[], names: readonly string[]) => {
    const reads = newReads()
    reads.files.push(...files.map((file) => join(root, file)))
    for (const pattern of patterns) reads.patterns.set(join(root, pattern), [])
    return Object.fromEntries(
      [...placesOf(reads)].map(([directory, matches]) => [
        directory === root ? '.' : directory.replace(`${root}/`, ''),
        names.filter(matches),
      ]),
    )
  }
  const NAMES = ['xdp.yaml', '.xdp.yaml.swp', 'xdp.yaml~', '4913', 'a.yaml', 'b.yml', 'conf.d', '..data', 'link', 'etc']

  test('for a file: its name in its directory', () => {
    const root = writeFiles({ 'etc/xdp.yaml': '' })
    expect(placesIn(root, ['etc/xdp.yaml'], [], NAMES)).toEqual({ etc: ['xdp.yaml'] })
  })

  test('for a missing file: the first missing name on its path', () => {
    const root = writeFiles({})
    expect(placesIn(root, ['etc/conf.d/xdp.yaml'], [], NAMES)).toEqual({ '.': ['etc'] })
    mkdirSync(join(root, 'etc'))
    expect(placesIn(root, ['etc/conf.d/xdp.yaml'], [], NAMES)).toEqual({ etc: ['conf.d'] })
  })

  test('for a ConfigMap: every link on the path', () => {
    const root = writeFiles({ 'etc/..1/xdp.yaml': '' })
    symlinkSync('..1', join(root, 'etc/..data'))
    symlinkSync('..data/xdp.yaml', join(root, 'etc/xdp.yaml'))
    expect(placesIn(root, ['etc/xdp.yaml'], [], NAMES)).toEqual({
      etc: ['xdp.yaml', '..data'],
      'etc/..1': ['xdp.yaml'],
    })
  })

  test('for a file below a linked directory: the link and its target', () => {
    const root = writeFiles({ 'releases/7/etc/xdp.yaml': '' })
    symlinkSync(join(root, 'releases/7'), join(root, 'link'))
    expect(placesIn(root, ['link/etc/xdp.yaml'], [], NAMES)).toEqual({
      '.': ['link'],
      'releases/7/etc': ['xdp.yaml'],
    })
  })

  test('for a circle of links: ends after following each', () => {
    const root = writeFiles({})
    symlinkSync('link', join(root, 'link'))
    expect(placesIn(root, ['link'], [], NAMES)).toEqual({ '.': ['link'] })
  })

  test('for a pattern: all matching names in all matching directories', () => {
    const root = writeFiles({ 'conf.d/a.yaml': '', 'sites/one/a.yaml': '', 'sites/two/x': '' })
    expect(placesIn(root, [], ['conf.d/*.yaml', 'sites/*/*.yml'], NAMES)).toEqual({
      'conf.d': ['xdp.yaml', 'a.yaml'],
      sites: ['xdp.yaml', 'xdp.yaml~', '4913', 'a.yaml', 'b.yml', 'conf.d', 'link', 'etc'],
      'sites/one': ['b.yml'],
      'sites/two': ['b.yml'],
    })
  })

  test('for a pattern in a missing directory: the directory', () => {
    const root = writeFiles({})
    expect(placesIn(root, [], ['conf.d/*.yaml'], NAMES)).toEqual({ '.': ['conf.d'] })
  })
})

describe('a look at the config', () => {
  const START = `${HEAD}blocklist: [{ name: feed, file: feed.txt }]\n`
  const open = async (files: Readonly<Record<string, string>> = {}) => {
    const directory = writeFiles({ 'xdp.yaml': START, 'feed.txt': '192.0.2.1\n', ...files })
    const file = openConfig(join(directory, 'xdp.yaml'))
    expect(await file.look(false)).toMatchObject({ kind: 'good' })
    const write = (name: string, text: string): void => writeFileSync(join(directory, name), text)
    const kind = async (force = false): Promise<string> => (await file.look(force)).kind
    return { directory, file, write, kind }
  }

  test('reports "same" without changes, else the new content', async () => {
    const { kind, write } = await open()
    expect(await kind()).toBe('same')
    write('feed.txt', '192.0.2.2\n')
    expect(await kind()).toBe('good')
    expect(await kind()).toBe('same')
    write('xdp.yaml', `${START}policy: { default: drop }\n`)
    expect(await kind()).toBe('good')
    write('xdp.yaml', '')
    expect(await kind()).toBe('bad')
    expect(await kind()).toBe('same')
    write('xdp.yaml', START)
    expect(await kind()).toBe('good')
  })

  test('looks again when the host has other addresses, if the config names it', async () => {
    const entry = 'blocklist: [{ cidr: any, destination: host }]\n'
    const directory = writeFiles({ 'xdp.yaml': `${HEAD}${entry}` })
    let addresses = ['192.0.2.1', 'fe80::1']
    const read = async () => addresses.map((text) => parseAddress(text) as Address)
    const file = openConfig(join(directory, 'xdp.yaml'), undefined, undefined, undefined, read)
    const destinations = async () => {
      const look = await file.look(false)
      if (look.kind !== 'good') return look.kind
      const [list] = look.loaded.desired.state.lists.values()
      return list?.sets.map(({ scope }) => scopeKey(scope))
    }
    expect(await destinations()).toEqual(['any to 192.0.2.1,fe80::/10'])
    expect(await file.hasReaddressed()).toBe(false)
    addresses = ['fe80::2', '192.0.2.1']
    expect(await file.hasReaddressed()).toBe(true)
    addresses = ['127.0.0.1', '192.0.2.1', '192.0.2.7', '2001:db8::7']
    expect(await destinations()).toEqual(['any to 192.0.2.1,192.0.2.7,2001:db8::7'])
    expect(await destinations()).toBe('same')
    writeFileSync(join(directory, 'xdp.yaml'), HEAD)
    expect(await file.look(false)).toMatchObject({ kind: 'good' })
    addresses = []
    expect(await file.hasReaddressed()).toBe(false)
  })

  test('goes by content: a file rewritten with equal content counts as unchanged', async () => {
    const { directory, kind, write } = await open()
    write('feed.txt', '192.0.2.1\n')
    expect(await kind()).toBe('same')
    write('feed.new', '192.0.2.1\n')
    renameSync(join(directory, 'feed.new'), join(directory, 'feed.txt'))
    expect(await kind()).toBe('same')
    expect(await kind(true)).toBe('good')
  })

  test('sees rewrites of equal size within one clock tick', async () => {
    const { kind, write } = await open()
    for (let i = 2; i < 9; i++) {
      write('feed.txt', `192.0.2.${i}\n`)
      expect(await kind()).toBe('good')
    }
  })

  test('sees a rewrite whose modification time was set back', async () => {
    const { directory, kind, write } = await open()
    const path = join(directory, 'feed.txt')
    utimesSync(path, 1_000_000, 1_000_000)
    expect(await kind()).toBe('same')
    write('feed.txt', '192.0.2.7\n')
    utimesSync(path, 1_000_000, 1_000_000)
    expect(await kind()).toBe('good')
  })

  test('counts a touched feed as changed where the config sets max_age', async () => {
    const text = START.replace('feed.txt', 'feed.txt, max_age: 1h')
    const { directory, kind } = await open({ 'xdp.yaml': text })
    expect(await kind()).toBe('same')
    const { mtimeMs } = statSync(join(directory, 'feed.txt'))
    utimesSync(join(directory, 'feed.txt'), mtimeMs / 1000, mtimeMs / 1000 - 7200)
    expect(await kind()).toBe('good')
  })

  test('sees files that are added, removed and added again', async () => {
    const { directory, kind, write } = await open({
      'xdp.yaml': `${START}include: [conf.d/*.yaml]\n`,
      'conf.d/a.yaml': 'policy: {}\n',
    })
    write('conf.d/b.yaml', 'allowlist: [192.0.2.9]\n')
    expect(await kind()).toBe('good')
    rmSync(join(directory, 'conf.d/b.yaml'))
    expect(await kind()).toBe('good')
    rmSync(join(directory, 'feed.txt'))
    expect(await kind()).toBe('bad')
    write('feed.txt', '192.0.2.1\n')
    expect(await kind()).toBe('good')
    rmSync(directory, { recursive: true })
    expect(await kind()).toBe('bad')
  })

  test('is due only after a write, also one through another hard link', async () => {
    const { directory, file, write } = await open()
    file.hasMoved()
    expect(file.hasMoved()).toBe(false)
    linkSync(join(directory, 'feed.txt'), join(directory, 'other'))
    file.hasMoved()
    write('other', '192.0.2.5\n')
    expect(file.hasMoved()).toBe(true)
    expect(file.hasMoved()).toBe(false)
  })
})
