// Fetching from servers that work, and from servers that are broken or hostile: the last good copy always survives.

import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Loaded, loadConfig } from '../../../src/config/load.ts'
import type { Copies, Remote } from '../../../src/config/text/remote.ts'
import { newReads } from '../../../src/config/text/source.ts'
import { type FetchPorts, fetchSource, type Group, groupsOf } from '../../../src/fetch/fetch.ts'
import type { Lookup } from '../../../src/fetch/resolve.ts'
import { openStore, type Store } from '../../../src/fetch/store.ts'
import { originOf } from '../../../src/model/provenance.ts'
import type { Fetched } from '../../../src/report/fetch.ts'
import { FeedServer } from '../../support/feed-server.ts'

const UID = process.geteuid?.() ?? 0

let server: FeedServer
let directory: string
let store: Store

beforeAll(async () => {
  server = await FeedServer.open()
})
afterAll(() => server.close())
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-fetch-'))
  store = openStore(join(directory, 'feeds'), UID)
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const copies = (missing: Copies['missing']): Copies => ({ directory: store.directory, missing })

/** Loads a config whose blocklist has these entries. */
async function load(entries: string, missing: Copies['missing'] = 'error'): Promise<Loaded & { remotes: Remote[] }> {
  const path = join(directory, 'xdp.yaml')
  writeFileSync(path, `version: 1\ninterfaces: { eth0: {} }\nblocklist:\n${entries}`)
  const reads = newReads(undefined, undefined, copies(missing))
  const loaded = await loadConfig(path, { reads })
  return { ...loaded, remotes: reads.remotes }
}

const entryOf = (path: string, more = ''): string =>
  `  - { name: drop, url: "${server.url(path)}", ca: ${server.ca}${more} }\n`

async function groupOf(entry: string): Promise<Group> {
  const { remotes } = await load(entry, 'none')
  return groupsOf(remotes)[0] as Group
}

const fetched = async (entry: string, ports: Partial<FetchPorts> = {}): Promise<Fetched> =>
  fetchSource(await groupOf(entry), { store, clock: Date.now, ...ports })

const lines = (count: number): string => Array.from({ length: count }, (_, i) => `203.0.113.${i * 2}\n`).join('')

describe('a good server', () => {
  test('the copy is what plan and apply read, with its URL as its origin', async () => {
    server.serve('/drop.txt', lines(20))
    const entry = entryOf('/drop.txt')
    await expect(load(entry)).rejects.toThrow('E261')
    expect((await load(entry, 'warn')).warnings).toMatchObject([
      { code: 'W261', hint: expect.stringContaining('xdp fetch') },
    ])
    expect(await fetched(entry)).toMatchObject({ outcome: 'new', prefixes: 20, lists: ['drop'] })
    const { desired, warnings } = await load(entry)
    expect(warnings).toEqual([])
    expect(desired.state.lists.get('drop')?.sets[0]?.addresses.v4.length).toBe(20)
    const origin = originOf(desired.provenance, 'drop', 4, Uint32Array.of(0xcb007104))
    expect(origin?.at).toMatch(/127\.0\.0\.1-drop\.txt-[0-9a-f]{12}:3$/)
    expect(origin?.about).toContain(server.url('/drop.txt'))
    expect(desired.sources?.files.map(({ path }) => path)).toContain(desired.feeds[0]?.files[0]?.path)
  })

  test('an unchanged list is not sent again, and its copy is as young as the last check', async () => {
    server.answers.set('/tags', (response, request) => {
      const isKnown = request.headers['if-none-match'] === '"one"'
      response.writeHead(isKnown ? 304 : 200, { etag: '"one"' }).end(isKnown ? undefined : lines(3))
    })
    const entry = entryOf('/tags')
    const { path } = await fetched(entry)
    utimesSync(path, 1_000_000, 1_000_000)
    expect(await fetched(entry)).toMatchObject({ outcome: 'unchanged', bytes: 0, prefixes: 3 })
    expect(Date.now() / 1000 - statSync(path).mtimeMs / 1000).toBeLessThan(60)
    // A server without tags sends all of it again.
    server.serve('/tags', lines(3))
    expect(await fetched(entry)).toMatchObject({ outcome: 'unchanged' })
    // The tags of a copy that is gone are of no use.
    server.answers.set('/tags', (response, request) => {
      response.writeHead(request.headers['if-none-match'] ? 304 : 200, { etag: '"two"' }).end(lines(3))
    })
    await fetched(entry)
    rmSync(path)
    expect(await fetched(entry)).toMatchObject({ outcome: 'new' })
  })

  test('If-Modified-Since is the date of the server', async () => {
    const date = 'Wed, 21 Oct 2026 07:28:00 GMT'
    server.answers.set('/date', (response, request) => {
      const isKnown = request.headers['if-modified-since'] === date
      response.writeHead(isKnown ? 304 : 200, { 'last-modified': date }).end(isKnown ? undefined : lines(3))
    })
    await fetched(entryOf('/date'))
    expect(await fetched(entryOf('/date'))).toMatchObject({ outcome: 'unchanged', bytes: 0 })
  })

  test('gzip is unpacked on the way, and lists that are gzip files stay so', async () => {
    server.serve('/packed', gzipSync(lines(4)), { 'content-encoding': 'gzip' })
    server.serve('/list.gz', gzipSync(lines(5)))
    expect(await fetched(entryOf('/packed'))).toMatchObject({ outcome: 'new', prefixes: 4, bytes: lines(4).length })
    const { path, prefixes } = await fetched(entryOf('/list.gz'))
    expect(prefixes).toBe(5)
    expect(readFileSync(path)[0]).toBe(0x1f)
    expect((await load(entryOf('/list.gz'))).desired.feeds[0]?.files[0]?.entries).toBe(5)
  })

  test('every option of a list file holds for a URL', async () => {
    server.serve('/list.csv', 'ip,country\n198.51.100.7,XX\n198.51.100.9,YY\n10.0.0.1,XX\n')
    const entry = entryOf('/list.csv', ', column: ip, where: { column: country, equals: XX }')
    expect(await fetched(entry)).toMatchObject({ outcome: 'new', prefixes: 1 })
    expect((await load(entry)).warnings).toMatchObject([{ code: 'W004' }])
  })

  test('redirects are followed, up to five', async () => {
    server.answers.set('/from', (response) => response.writeHead(302, { location: '/to' }).end())
    server.serve('/to', lines(3))
    expect(await fetched(entryOf('/from'))).toMatchObject({ outcome: 'new' })
    server.answers.set('/round', (response) => response.writeHead(301, { location: '/round' }).end())
    expect((await fetched(entryOf('/round'))).problem?.message).toContain('redirects more than 5 times')
  })

  test('one source of two entries is fetched once, and must serve both', async () => {
    server.serve('/two', '198.51.100.1,XX\n198.51.100.3,YY\n')
    const two = (equals: string): string =>
      `  - { name: ${equals}, url: "${server.url('/two')}", ca: ${server.ca}, format: csv, column: 1, where: { column: 2, equals: ${equals} } }\n`
    const before = server.requests.length
    expect(await fetched(two('XX') + two('YY'))).toMatchObject({ outcome: 'new', lists: ['XX', 'YY'], prefixes: 2 })
    expect(server.requests.length - before).toBe(1)
    server.serve('/two', '198.51.100.1,XX\n')
    expect(await fetched(two('XX') + two('YY'))).toMatchObject({
      outcome: 'failed',
      problem: { code: 'E264', message: expect.stringContaining('list YY cannot read it') },
    })
  })
})

const forever = (chunk: Buffer) => (response: ServerResponse) => {
  const push = (): void => {
    while (!response.destroyed && response.write(chunk));
    if (!response.destroyed) response.once('drain', push)
  }
  response.writeHead(200)
  push()
}

/** Answers of a server that must not replace the copy: part of the message, the answer, and options of the entry. */
const HOSTILE: readonly (readonly [string, (response: ServerResponse) => void, string?])[] = [
  ['status 500', (response) => response.writeHead(500).end()],
  ['status 304', (response) => response.writeHead(304).end()],
  ['no usable address', (response) => response.writeHead(200).end('')],
  ['line 1', (response) => response.writeHead(200).end('<!DOCTYPE html>\n<p>Moved</p>\n')],
  ['UTF-8', (response) => response.writeHead(200).end(Buffer.from([0x7f, 0x45, 0xff, 0xfe, 0]))],
  ['larger than', forever(Buffer.from(`${'192.0.2.1\n'.repeat(1000)}`)), ', max_size: 64k'],
  [
    'larger than',
    (response) => response.writeHead(200, { 'content-length': '99999999999' }).write('1'),
    ', max_size: 64k',
  ],
  [
    'larger than',
    (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(2 ** 24, 0x0a))),
    ', max_size: 64k',
  ],
  [
    'unpacks to more',
    (response) => response.writeHead(200).end(gzipSync(Buffer.alloc(2 ** 24, 0x0a))),
    ', max_size: 64k',
  ],
  ['damaged gzip', (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('203.0.113.1\n')],
  [
    'cut off',
    (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(lines(99)).subarray(0, 40)),
  ],
  ['encoded as', (response) => response.writeHead(200, { 'content-encoding': 'br' }).end('x')],
  [
    'before the list was complete',
    (response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write(lines(3), () => response.destroy())
    },
  ],
  ['nothing arrived', (response) => response.writeHead(200).write('2')],
  [
    'was not complete after',
    (response) => {
      response.writeHead(200)
      const drip = setInterval(() => response.write('\n'), 20)
      response.on('close', () => clearInterval(drip))
    },
  ],
  ['redirects to http:', (response) => response.writeHead(302, { location: 'http://127.0.0.1/' }).end()],
  ['redirects to file:', (response) => response.writeHead(302, { location: 'file:///etc/shadow' }).end()],
  ['with a password', (response) => response.writeHead(302, { location: 'https://a:b@127.0.0.1/' }).end()],
  ['not a URL', (response) => response.writeHead(302, { location: 'https://' }).end()],
]

/** Bounds of the cases that are about them. */
const BOUNDS: Readonly<Record<string, { readonly idleMs: number; readonly totalMs: number }>> = {
  'nothing arrived': { idleMs: 300, totalMs: 20_000 },
  'was not complete after': { idleMs: 20_000, totalMs: 1000 },
}

describe('a broken or hostile server', () => {
  const cases = HOSTILE.map(([words, answer, more = '']) => ({ words, answer, more }))

  test.each(cases)('is reported ($words), and the last good copy stays', async ({ words, answer, more }) => {
    const entry = entryOf('/list', more)
    server.serve('/list', lines(10))
    const { path } = await fetched(entry)
    server.answers.set('/list', answer)
    const result = await fetched(entry, { bounds: BOUNDS[words] ?? { idleMs: 20_000, totalMs: 20_000 } })
    expect(result).toMatchObject({ outcome: 'failed', prefixes: 10, problem: { code: 'E264' } })
    expect(result.problem?.message).toContain(words)
    expect(readFileSync(path, 'utf8')).toBe(lines(10))
    expect(store.all()).toMatchObject([{ failures: 1, problem: result.problem?.message }])
    expect((await load(entry)).desired.feeds[0]?.files[0]?.entries).toBe(10)
  })

  test('certificates are verified whatever the environment says', async () => {
    server.serve('/list', lines(3))
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const result = await fetched(`  - { name: drop, url: "${server.url('/list')}" }\n`)
      expect(result).toMatchObject({ outcome: 'failed', problem: { hint: expect.stringContaining('ca: FILE') } })
      const other = await fetched(entryOf('/list').replace('127.0.0.1', '127.0.0.2'))
      expect(other.outcome).toBe('failed')
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
  })

  test('a list that shrank too much is not taken, unless that is accepted', async () => {
    const entry = entryOf('/list')
    server.serve('/list', lines(100))
    const { path } = await fetched(entry)
    server.serve('/list', lines(49))
    expect(await fetched(entry)).toMatchObject({
      outcome: 'kept',
      prefixes: 100,
      offered: 49,
      problem: { code: 'W263' },
    })
    expect(readFileSync(path, 'utf8')).toBe(lines(100))
    expect(await fetched(entryOf('/list', ', max_shrink: 60%'))).toMatchObject({ outcome: 'updated', prefixes: 49 })
    server.serve('/list', lines(2))
    expect(await fetched(entry, { acceptShrink: true })).toMatchObject({ outcome: 'updated', prefixes: 2 })
  })

  test('an interrupted fetch says nothing about the source', async () => {
    const entry = entryOf('/list')
    server.serve('/list', lines(3))
    await fetched(entry)
    server.answers.set('/list', () => undefined)
    const result = await fetched(entry, { signal: AbortSignal.abort() })
    expect(result.outcome).toBe('failed')
    expect(store.all()).toMatchObject([{ failures: 0, problem: undefined }])
  })

  test('a pause that it asks for is passed on', async () => {
    server.answers.set('/busy', (response) => response.writeHead(429, { 'retry-after': '7200' }).end())
    expect(await fetched(entryOf('/busy'))).toMatchObject({
      outcome: 'failed',
      prefixes: undefined,
      validMs: 7_200_000,
    })
  })
})

describe('copies', () => {
  test('a copy that was changed on the disk is refused, fetched again, and not believed meanwhile', async () => {
    const entry = entryOf('/list')
    server.serve('/list', lines(10), { etag: '"one"' })
    const { path } = await fetched(entry)
    writeFileSync(path, lines(9))
    await expect(load(entry)).rejects.toThrow('E262')
    expect(await fetched(entry)).toMatchObject({ outcome: 'new' })
    expect((await load(entry)).desired.feeds[0]?.files[0]?.entries).toBe(10)
  })

  test('a file that somebody put in the place of a copy is as good as one', async () => {
    const entry = entryOf('/absent')
    const [{ path }] = await groupOf(entry)
    mkdirSync(store.directory)
    writeFileSync(path, lines(2))
    expect((await load(entry)).desired.feeds[0]?.files[0]?.entries).toBe(2)
  })

  test('earlier contents are removed, but not while a reader may have followed the link', async () => {
    const entry = entryOf('/list')
    server.serve('/list', lines(3))
    const { path } = await fetched(entry)
    server.serve('/list', lines(4))
    await fetched(entry)
    expect(lstatSync(path).isSymbolicLink()).toBe(true)
    expect(readdirSync(store.directory).filter((name) => /\.[0-9a-f]{16}$/.test(name))).toHaveLength(2)
  })

  test('copies that nothing fetches are removed after 90 days', async () => {
    server.serve('/one', lines(3))
    server.serve('/two', lines(3))
    const [{ path: one }, { path: two }] = [await fetched(entryOf('/one')), await fetched(entryOf('/two'))]
    const now = Math.floor(Date.now() / 1000)
    store.forget(new Set(), now + 89 * 86_400)
    expect(store.all()).toHaveLength(2)
    store.forget(new Set([two]), now + 91 * 86_400)
    expect(store.all().map(({ path }) => path)).toEqual([two])
    expect(readdirSync(store.directory).filter((name) => name.startsWith(basename(one)))).toEqual([])
  })

  test('a directory of somebody else is not written', async () => {
    const foreign = openStore(store.directory, UID + 1)
    server.serve('/list', lines(3))
    await expect(fetched(entryOf('/list'), { store: foreign })).rejects.toThrow('belongs to user')
  })

  test('notes show no query, which may hold a key', async () => {
    server.serve('/list?key=secret', lines(3))
    const result = await fetched(entryOf('/list?key=secret'))
    expect(result.outcome).toBe('new')
    expect(JSON.stringify([result, store.all()])).not.toContain('secret')
    for (const name of readdirSync(store.directory)) {
      expect(readFileSync(join(store.directory, name), 'utf8')).not.toContain('secret')
    }
  })
})

describe('hosts', () => {
  const entry = '  - { name: office, host: VPN.example.org., protocol: tcp }\n'
  const answering = (v4: readonly string[] | string, v6: readonly string[] | string, ttl = 300): Lookup => {
    const answer = (found: readonly string[] | string) => async () => {
      if (typeof found === 'string') throw Object.assign(new Error(found), { code: found })
      return found.map((address) => ({ address, ttl }))
    }
    return { resolve4: answer(v4), resolve6: answer(v6) }
  }
  const ask = (lookup: Lookup): Promise<Fetched> => fetched(entry, { lookup })

  test('both families become the list, in any order of the answer', async () => {
    const lookup = answering(['198.51.100.9', '198.51.100.7'], ['2001:db8::7'])
    expect(await ask(lookup)).toMatchObject({
      outcome: 'new',
      prefixes: 3,
      source: 'vpn.example.org',
      validMs: 300_000,
    })
    expect(await ask(answering(['198.51.100.7', '198.51.100.9'], ['2001:db8::7']))).toMatchObject({
      outcome: 'unchanged',
    })
    const { desired } = await load(entry)
    expect(desired.state.lists.get('office')?.sets[0]?.addresses.v6.length).toBe(1)
    expect(originOf(desired.provenance, 'office', 4, Uint32Array.of(0xc6336407))?.about).toContain(
      'host vpn.example.org',
    )
  })

  test('empty answers and silence keep the last good addresses', async () => {
    await ask(answering(['198.51.100.7'], ['2001:db8::7']))
    for (const lookup of [
      answering('ENODATA', 'ENODATA'),
      answering('ENOTFOUND', 'ENOTFOUND'),
      answering('ETIMEOUT', 'ESERVFAIL'),
      answering([], []),
    ]) {
      expect(await ask(lookup)).toMatchObject({ outcome: 'failed', prefixes: 2 })
    }
    // One family that does not answer keeps its own addresses.
    expect(await ask(answering(['198.51.100.8'], 'ESERVFAIL'))).toMatchObject({ outcome: 'updated', prefixes: 2 })
    expect(await ask(answering(['198.51.100.8'], 'ENODATA'))).toMatchObject({ outcome: 'updated', prefixes: 1 })
  })
})
