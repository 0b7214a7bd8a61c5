// A config read from kept contents is the config that was read from the disk, with every place in it, and reads no file.

import { readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { newReads } from '../../../src/config/text/source.ts'
import { ANY_FILE } from '../../../src/config/text/trust.ts'
import type { KeptFiles, Sources } from '../../../src/model/sources.ts'
import { HEAD, writeFiles } from '../../support/config.ts'

/** Keeps everything that a config was read from, as a history does. */
function kept({ files, patterns }: Sources): KeptFiles {
  const contents = new Map(
    files.map(({ path, text, ...rest }) => [path, { ...rest, bytes: text ?? readFileSync(path) }]),
  )
  return {
    read: (path) => contents.get(path),
    identityOf: (path) => contents.get(path)?.sha256,
    matches: (pattern) => patterns.find((one) => one.pattern === pattern)?.matches ?? [],
  }
}

const FILES = {
  'xdp.yaml': `${HEAD}include: [conf.d/*.yaml, more.yaml]
blocklist:
  - 198.51.100.0/24
  - { name: feeds, file: "lists/*.txt", exclude_private: false }
  - { name: packed, file: lists/packed.gz }
balancer: { hash_key: 000102030405060708090a0b0c0d0e0f }
`,
  'conf.d/a.yaml':
    'version: 1\nallowlist: [192.0.2.7, { name: own, file: ../lists/own.csv, column: 2, format: csv }]\n',
  'more.yaml':
    'services:\n  web:\n    vip: 203.0.113.80\n    port: 80\n    protocol: tcp\n    forwarding: nat\n    backends: [{ address: 203.0.113.81 }]\n',
  'lists/a.txt': '# Last-Modified: 2026-11-01\n203.0.113.1\n',
  'lists/b.txt': '10.1.2.3\n',
  'lists/own.csv': 'a,192.0.2.9\n',
  'lists/packed.gz': gzipSync('2001:db8::/32\n'),
}

describe('a kept config', () => {
  test('is equal in every part, though its files are gone', async () => {
    const folder = writeFiles(FILES)
    symlinkSync('../more.yaml', join(folder, 'conf.d/b.yaml'))
    const path = join(folder, 'xdp.yaml')
    const first = await loadConfig(path)
    const sources = first.desired.sources as Sources
    expect(sources.files.map((one) => [one.path.replace(`${folder}/`, ''), one.text !== undefined])).toEqual([
      ['xdp.yaml', true],
      ['conf.d/a.yaml', true],
      ['conf.d/b.yaml', true],
      ['more.yaml', true],
      ['lists/own.csv', false],
      ['lists/a.txt', false],
      ['lists/b.txt', false],
      ['lists/packed.gz', false],
    ])
    const contents = kept(sources)
    rmSync(folder, { recursive: true })
    const again = await loadConfig(path, { reads: newReads(ANY_FILE, contents) })
    const { services: places, ...provenance } = again.desired.provenance
    const { services: firstPlaces, ...firstProvenance } = first.desired.provenance
    expect(provenance).toEqual(firstProvenance)
    expect([...places].map(([name, { at }]) => [name, at])).toEqual(
      [...firstPlaces].map(([name, { at }]) => [name, at]),
    )
    expect({ ...again.desired, provenance: undefined }).toEqual({ ...first.desired, provenance: undefined })
    // W228 is about the permissions of the file.
    expect(again.warnings).toEqual(first.warnings.filter(({ code }) => code !== 'W228'))
  })

  test('by a relative path is that of an absolute one', async () => {
    const folder = writeFiles({ 'xdp.yaml': `${HEAD}blocklist: [{ file: a.txt }]\n`, 'a.txt': '203.0.113.1\n' })
    const { desired } = await loadConfig(join(folder, '.', 'xdp.yaml'))
    const { files } = desired.sources as Sources
    expect(files.map(({ path }) => path)).toEqual(['xdp.yaml', 'a.txt'].map((name) => join(folder, name)))
  })

  test('without one of its files is an error', async () => {
    const folder = writeFiles({ 'xdp.yaml': `${HEAD}blocklist: [{ file: a.txt }]\n`, 'a.txt': '203.0.113.1\n' })
    const path = join(folder, 'xdp.yaml')
    const { desired } = await loadConfig(path)
    const { files, patterns } = desired.sources as Sources
    const contents = kept({ files: files.slice(0, 1), patterns })
    await expect(loadConfig(path, { reads: newReads(ANY_FILE, contents) })).rejects.toThrow('E001')
  })
})
