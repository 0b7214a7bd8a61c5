// Feeds: every format, entries that are left out, packed files, patterns, and included configs.

import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { Desired } from '../../../src/model/desired.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { formatRange, wordsOf } from '../../../src/model/text.ts'
import { errorsOf, HEAD, loadText, writeFiles } from '../../support/config.ts'

/** The addresses of a list, both families in one array. */
function addressesOf({ state }: Desired, name: string): string[] {
  return (state.lists.get(name)?.sets ?? []).flatMap(({ addresses: { v4, v6 } }) =>
    [v4, v6].flatMap(({ family, length, start, end }) =>
      Array.from({ length }, (_, at) => formatRange(family, start, end, at * wordsOf(family))),
    ),
  )
}

interface Taken {
  readonly addresses: string[]
  readonly format: string | undefined
  readonly warnings: readonly string[]
}

/** Loads a file under the keys of an entry. */
async function take(content: string | Uint8Array, keys = ''): Promise<Taken> {
  const { desired, warnings } = await loadText(`${HEAD}blocklist: [{ name: feed, file: feed${keys} }]\n`, {
    feed: content,
  })
  return {
    addresses: addressesOf(desired, 'feed'),
    format: desired.feeds[0]?.files[0]?.format,
    warnings: warnings.map(({ code, message }) => `${code} ${message.replaceAll(/\S*\/feed\b/g, 'feed')}`),
  }
}

describe('formats are detected by content', () => {
  const BOTH = ['192.0.2.0/25', '2001:db8::/32']
  const cases: Record<string, { content: string; keys?: string; format: string }> = {
    'one entry per line': { content: '192.0.2.0/25\n2001:db8::/32\n', format: 'plain' },
    'comments of both kinds': { content: '# a\n; b\n\n192.0.2.0/25 # c\n\t2001:db8::/32;d\r\n', format: 'plain' },
    'Spamhaus DROP': { content: '; Spamhaus DROP List\n192.0.2.0/25 ; SBL1\n2001:db8::/32 ; SBL2\n', format: 'plain' },
    ranges: {
      content: '192.0.2.0-192.0.2.127\n2001:db8:: - 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\n',
      format: 'plain',
    },
    'Spamhaus JSON lines': {
      content:
        '{"cidr":"192.0.2.0/25","sblid":"SBL1","rir":"arin"}\n{ "cidr" : "2001:db8::/32" }\n{"type":"metadata","timestamp":1,"records":2}\n',
      format: 'jsonl',
    },
    'JSON lines with another field': {
      content: '{"id":1,"ip":"192.0.2.0/25"}\n{"id":2,"ip":"2001:db8::\\u002f32"}\n',
      format: 'jsonl',
    },
    'JSON lines with a named field': {
      content: '{"cidr":"x","net":"192.0.2.0/25"}\n{"net":"2001:db8::/32","cidr":"x"}\n',
      keys: ', column: net',
      format: 'jsonl',
    },
    'CSV with a header': {
      content: 'when,what\nmonday,192.0.2.0/25\n"tues, ""day""", "2001:db8::/32"\n',
      keys: ', column: what',
      format: 'csv',
    },
    'CSV with a header in a comment': {
      content: '# a feed\n# when;what\nmonday;192.0.2.0/25\ntuesday;2001:db8::/32\n',
      keys: ', column: what',
      format: 'csv',
    },
    'CSV by number, without a header': {
      content: 'monday\t192.0.2.0/25\ntuesday\t2001:db8::/32\n',
      keys: ', column: 2',
      format: 'csv',
    },
    'CSV by number, with a header': {
      content: 'a,b\n1,192.0.2.0/25\n2,2001:db8::/32',
      keys: ', column: 2',
      format: 'csv',
    },
    'ipset save': {
      content:
        'create a hash:net family inet hashsize 1024\nadd a 192.0.2.0/25 timeout 300 comment "not nomatch"\ncreate b hash:ip family inet6\nadd b 2001:db8::/32\n',
      format: 'ipset',
    },
  }

  test.each(Object.entries(cases))('%s', async (_, { content, keys, format }) => {
    expect(await take(content, keys)).toEqual({ addresses: BOTH, format, warnings: [] })
    expect(await take(gzipSync(content), keys)).toEqual({ addresses: BOTH, format, warnings: [] })
  })
})

test('a configured format overrides detection', async () => {
  const directory = writeFiles({
    'xdp.yaml': `${HEAD}blocklist: [{ file: a, format: plain }]\n`,
    a: '{"cidr":"192.0.2.0/24"}\n',
  })
  expect(await errorsOf(join(directory, 'xdp.yaml'))).toMatchObject([{ code: 'E020' }])
})

describe('invalid lines', () => {
  test('are counted and the first three named with on_bad_line: skip', async () => {
    const { addresses, warnings } = await take(
      '192.0.2.1\nbad\n192.0.2.1/24\n::ffff:192.0.2.1\n192.0.2.9-192.0.2.1\n',
      ', on_bad_line: skip',
    )
    expect(addresses).toEqual(['192.0.2.1'])
    expect(warnings).toEqual(['W003 4 lines of feed skipped: feed:2, :3, :4 and 1 more'])
  })

  test.each([
    ['jsonl', '{"cidr":"192.0.2.1"}\nx\n{"cidr":"x"}\n', ''],
    ['csv', 'a,b\n1,192.0.2.1\n2\n"3\n', ', column: b'],
    ['ipset', 'add a 192.0.2.1\nadd a 192.0.2.1,80\nadd\n', ''],
  ])('in %s', async (format, content, keys) => {
    const taken = await take(content, `${keys}, on_bad_line: skip, format: ${format}`)
    expect(taken.addresses).toEqual(['192.0.2.1'])
    expect(taken.warnings).toMatchObject([expect.stringMatching(/^W003 2 lines of feed skipped: feed:\d, :\d$/)])
  })

  test('are reported up to twenty and then counted, even if there are ten million', async () => {
    const garbage = gzipSync('garbage\n'.repeat(10_000_000), { level: 1 })
    const directory = writeFiles({ 'xdp.yaml': `${HEAD}blocklist: [{ file: a }]\n`, a: garbage })
    await expect(loadConfig(join(directory, 'xdp.yaml'))).rejects.toMatchObject({ exit: 78, omitted: 9_999_980 })
  })
})

describe('addresses that a feed may not block', () => {
  const OWN = [
    ...['0.0.0.0', '10.1.2.3', '100.64.0.0/16', '127.0.0.1', '169.254.1.1', '172.16.0.0/12', '192.168.1.0/24'],
    ...['224.0.0.1', '239.255.255.255', '::', '::1', 'fc00::/24', 'fd12::1', 'fe80::1', 'ff02::1'],
  ]
  const OTHERS = [
    '9.255.255.255',
    '11.0.0.0/16',
    '100.128.0.0',
    '172.32.0.0/16',
    '192.0.2.0/24',
    '240.0.0.1',
    '2001:db8::/48',
    'fec0::1',
  ]

  test('private addresses are left out, all others are kept', async () => {
    const { addresses, warnings } = await take([...OWN, ...OTHERS].join('\n'))
    expect(addresses).toEqual(OTHERS)
    expect(warnings).toEqual([`W004 ${OWN.length} entries with private addresses left out: feed:1, :2, :3 and 12 more`])
  })

  test('an entry that is partly private keeps its other addresses', async () => {
    const { addresses, warnings } = await take('192.160.0.0/12\n')
    expect(addresses).toEqual(['192.160.0.0/13', '192.169.0.0-192.175.255.255'])
    expect(warnings).toEqual(['W004 1 entry with private addresses left out: feed:1'])
  })

  test('private addresses are kept with exclude_private: false, in the allowlist, and inline', async () => {
    expect((await take('10.1.2.3\n', ', exclude_private: false')).addresses).toEqual(['10.1.2.3'])
    const { desired, warnings } = await loadText(
      `${HEAD}allowlist: [{ name: lan, file: lan }]\nblocklist: [10.0.0.0/8]\n`,
      { lan: '10.0.0.0/8\n' },
    )
    expect(warnings).toEqual([])
    expect([addressesOf(desired, 'lan'), addressesOf(desired, 'blocklist')]).toEqual([['10.0.0.0/8'], ['10.0.0.0/8']])
  })

  test('entries wider than min_prefix are left out, ranges too; equally wide ones are kept', async () => {
    const content = '32.0.0.0/8\n64.0.0.0/7\n65.0.0.0-66.0.0.0\n2001::/19\n2400::/18\n2600::-2600:2000::\n'
    const { addresses, warnings } = await take(content)
    expect(addresses).toEqual(['32.0.0.0/8', '2001::/19'])
    expect(warnings).toEqual(['W004 4 entries wider than /8 (IPv4) or /19 (IPv6) left out: feed:2, :3, :5 and 1 more'])
    expect(
      (await take('64.0.0.0/7\n0.0.0.0/1\n', ', min_prefix: { v4: 0 }, exclude_private: false')).addresses,
    ).toEqual(['0.0.0.0/1'])
    expect((await take('192.0.2.0/24\n192.0.2.1\n', ', min_prefix: { v4: 32 }')).addresses).toEqual(['192.0.2.1'])
  })
})

describe('the age of a feed', () => {
  const at = async (content: string): Promise<number | undefined> => {
    const directory = writeFiles({ 'xdp.yaml': `${HEAD}blocklist: [{ file: a, max_age: 36h }]\n`, a: content })
    utimesSync(join(directory, 'a'), 1_000_000, 1_000_000)
    const [feed] = (await loadConfig(join(directory, 'xdp.yaml'))).desired.feeds
    expect(feed).toMatchObject({ list: 'blocklist', maxAge: 36 * 3600, maxShrink: 0.5, maxGrowth: 100 })
    return feed?.files[0]?.updatedAt
  }

  test('is the timestamp in the file, else the time of the last write', async () => {
    expect(await at('192.0.2.1\n')).toBe(1_000_000)
    expect(await at('# updated: never\n192.0.2.1\n')).toBe(1_000_000)
    expect(await at('; Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\n192.0.2.1 ; SBL1\n')).toBe(1_767_225_600)
    expect(await at('#\n# This File Date  : Thu Jan  1 00:00:00 UTC 2026\n192.0.2.1\n')).toBe(1_767_225_600)
    expect(await at('{"cidr":"192.0.2.1"}\n{"type":"metadata","timestamp":1767225600}\n')).toBe(1_767_225_600)
  })

  test('notes about the source are kept', async () => {
    const { desired } = await loadText(`${HEAD}blocklist: [{ file: a }]\n`, {
      a: '{"cidr":"192.0.2.1"}\n{"type":"metadata","copyright":"(c) example","terms":"be kind"}\n',
    })
    expect(desired.feeds[0]?.files[0]?.notes).toEqual(['(c) example', 'be kind'])
  })
})

describe('patterns', () => {
  test('match files in sorted order, without hidden ones', async () => {
    const files = {
      'l/b1.txt': '192.0.2.2',
      'l/a1.txt': '192.0.2.1',
      'l/.h1.txt': 'x',
      'l/c.lst': 'x',
      'm/a1.txt': '192.0.2.9',
    }
    const { desired } = await loadText(`${HEAD}blocklist: [{ name: a, file: "[!m]/?[0-9].*" }]\n`, files)
    expect(desired.provenance.files.slice(1).map((path) => path.slice(-8))).toEqual(['l/a1.txt', 'l/b1.txt'])
    expect(desired.feeds[0]?.files).toHaveLength(2)
    expect(addressesOf(desired, 'a')).toEqual(['192.0.2.1-192.0.2.2'])
  })

  test('may contain a hyphen', async () => {
    const files = { 'l/drop-v4.txt': '192.0.2.1', 'l/drop-v6.txt': '2001:db8::1', 'l/other.txt': '192.0.2.9' }
    const { desired } = await loadText(`${HEAD}blocklist: [{ name: a, file: "l/drop-*.txt" }]\n`, files)
    expect(desired.feeds[0]?.files.map(({ path }) => path.slice(-11))).toEqual(['drop-v4.txt', 'drop-v6.txt'])
  })

  test('prefer a file with exactly that name; an invalid set matches itself', async () => {
    const files = { 'a[1].txt': '192.0.2.1', 'a1.txt': '192.0.2.9', 'x[z-a]': '192.0.2.2' }
    const { desired } = await loadText(
      `${HEAD}blocklist: [{ name: a, file: "a[1].txt" }, { name: x, file: "x[z-a]" }]\n`,
      files,
    )
    expect([addressesOf(desired, 'a'), addressesOf(desired, 'x')]).toEqual([['192.0.2.1'], ['192.0.2.2']])
  })
})

describe('included files', () => {
  const files = {
    'conf.d/20.yaml': 'blocklist:\n  - 192.0.2.3\n  - { name: feed, file: feed.txt }\n',
    'conf.d/10.yaml':
      'version: 1\ninterfaces:\n  eth1: { mode: generic }\npolicy: { default: drop }\nallowlist: [198.51.100.1]\nblocklist: [192.0.2.2]\n',
    'conf.d/feed.txt': '203.0.113.1\n',
  }

  test('are merged, and every entry keeps its file and line', async () => {
    const { desired } = await loadText(
      'version: 1\ninclude: [conf.d/*.yaml, conf.d/10.yaml]\nblocklist: [192.0.2.1]\n',
      files,
    )
    expect([...desired.state.interfaces.keys()]).toEqual(['eth1'])
    expect(desired.options.get('eth1')?.at).toMatchObject({ file: expect.stringMatching(/10\.yaml$/), line: 3 })
    expect(desired.state.policy).toEqual({
      ...DEFAULT_POLICY,
      default: 'drop',
      unparsed: 'drop',
      established: 'pass',
    })
    expect([...desired.state.lists.keys()]).toEqual(['allowlist', 'blocklist', 'feed'])
    const sources = desired.provenance.lists.get('blocklist') ?? expect.unreachable()
    const at = sources.flatMap(({ file, v4 }) =>
      [...v4.line].map((line) => `${desired.provenance.files[file]?.split('/').at(-1)}:${line}`),
    )
    expect(at).toEqual(['xdp.yaml:3', '10.yaml:6', '20.yaml:2'])
    expect(addressesOf(desired, 'feed')).toEqual(['203.0.113.1'])
  })

  test('change the digest', async () => {
    const digest = async (address: string): Promise<string> => {
      const { desired } = await loadText(`${HEAD}include: [a.yaml]\n`, { 'a.yaml': `blocklist: [${address}]\n` })
      return desired.config.sha256
    }
    expect(await digest('192.0.2.1')).not.toBe(await digest('192.0.2.2'))
  })

  test('must name an interface in some file', async () => {
    const directory = writeFiles({ 'xdp.yaml': 'version: 1\ninclude: [a.yaml]\n', 'a.yaml': 'blocklist: []\n' })
    expect(await errorsOf(join(directory, 'xdp.yaml'))).toMatchObject([{ code: 'E034', at: { line: 2 } }])
    mkdirSync(join(directory, 'b'))
    writeFileSync(join(directory, 'b/xdp.yaml'), 'version: 1\nblocklist: []\n')
    expect(await errorsOf(join(directory, 'b/xdp.yaml'))).toMatchObject([{ code: 'E011' }])
  })
})

test('limits.prefixes counts overlaps, duplicates and nested prefixes once', async () => {
  const lists = `${HEAD}limits: { prefixes: 3 }
blocklist:
  - { name: a, file: a.txt }
  - { name: b, cidrs: [192.0.2.0/24, 192.0.2.0/24, 192.0.2.7] }
  - { name: c, file: a.txt, protocol: tcp }
`
  const { desired } = await loadText(lists, { 'a.txt': '192.0.2.0/24\n192.0.2.0/25\n192.0.2.1\n192.0.2.1\n' })
  for (const name of ['a', 'b', 'c']) expect(addressesOf(desired, name)).toEqual(['192.0.2.0/24'])
})

test('inline entries are kept apart from those of a feed in the same list', async () => {
  const { desired } = await loadText(`${HEAD}blocklist: [192.0.2.1, { file: a }]\n`, { a: '203.0.113.0/24\n' })
  const [set] = desired.feeds[0]?.inline ?? []
  expect(set?.addresses.v4).toMatchObject({ length: 1, start: Uint32Array.of(0xc0000201) })
})
