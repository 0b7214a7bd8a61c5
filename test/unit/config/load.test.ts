import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, linkSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findConfig, loadConfig } from '../../../src/config/load.ts'
import { newReads } from '../../../src/config/text/source.ts'
import { XdpError } from '../../../src/diagnostics.ts'
import type { Ranges } from '../../../src/model/address.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { originOf } from '../../../src/model/provenance.ts'
import { contains } from '../../../src/model/ranges.ts'
import { type List, scopeKey } from '../../../src/model/state.ts'
import { formatRange, wordsOf } from '../../../src/model/text.ts'
import { errorsOf, HEAD, loadText, writeFiles } from '../../support/config.ts'
import { keyNames, readSchema } from '../../support/schemas.ts'

const ROOT = join(import.meta.dirname, '../../..')

const texts = ({ family, length, start, end }: Ranges): string[] =>
  Array.from({ length }, (_, index) => formatRange(family, start, end, index * wordsOf(family)))

/** Scope → ranges, both families in one array. */
const contentOf = (list: List | undefined): Record<string, string[]> =>
  Object.fromEntries(
    (list?.sets ?? []).map(({ scope, addresses: { v4, v6 } }) => [scopeKey(scope), [...texts(v4), ...texts(v6)]]),
  )

describe('policy', () => {
  const policyOf = async (policy: string) => {
    const { desired } = await loadText(`version: 1\ninterfaces: { eth0: {} }\npolicy: ${policy}\n`)
    return desired.state.policy
  }

  test('unparsed follows default, unless it is written', async () => {
    expect(await policyOf('{ default: drop }')).toMatchObject({ default: 'drop', unparsed: 'drop' })
    expect(await policyOf('{ default: drop, unparsed: pass }')).toMatchObject({ default: 'drop', unparsed: 'pass' })
    expect(await policyOf('{ unparsed: drop }')).toMatchObject({ default: 'pass', unparsed: 'drop' })
  })

  test('established passes under default drop, unless it is written', async () => {
    expect(await policyOf('{ default: drop }')).toMatchObject({ established: 'pass' })
    expect(await policyOf('{ default: pass }')).toMatchObject({ established: 'judge' })
    expect(await policyOf('{ default: drop, established: judge }')).toMatchObject({ established: 'judge' })
    expect(await policyOf('{ established: pass }')).toMatchObject({ default: 'pass', established: 'pass' })
  })

  test('essential is a set, in a fixed order', async () => {
    expect((await policyOf('{ essential: [mld, loopback] }'))?.essential).toEqual(['loopback', 'mld'])
    expect((await policyOf('{ essential: [] }'))?.essential).toEqual([])
  })
})

describe('defaults', () => {
  test('a minimal file has its interfaces in native mode, default pass, and no lists', async () => {
    const { desired, warnings } = await loadText('version: 1\ninterfaces:\n  eth0:\n  eth1: {}\n')
    expect(warnings).toEqual([])
    expect(desired.state.policy).toEqual(DEFAULT_POLICY)
    expect([...desired.state.interfaces.values()]).toEqual([
      { interface: 'eth0', modes: ['native'], roles: ['balance', 'filter'] },
      { interface: 'eth1', modes: ['native'], roles: ['balance', 'filter'] },
    ])
    expect(desired.options.get('eth0')).toMatchObject({
      onConflict: 'fail',
      missing: 'error',
      at: { line: 3, column: 3 },
    })
    expect(desired.state.lists.size).toBe(0)
    expect(desired.state.program).toBeUndefined()
  })

  test('options have the place of the mode, or of the name if no mode is written', async () => {
    const { desired } = await loadText(
      'version: 1\ninterfaces:\n  eth0: { on_conflict: replace, missing: skip, mode: [generic, native] }\n',
    )
    expect(desired.state.interfaces.get('eth0')?.modes).toEqual(['generic', 'native'])
    expect(desired.options.get('eth0')).toMatchObject({
      onConflict: 'replace',
      missing: 'skip',
      at: { line: 3, column: 54, length: 17 },
    })
  })
})

describe('lists', () => {
  test('entries for packets without a socket are for TCP, in the blocklist, without `established`', async () => {
    const entry = (list: string, keys: string) =>
      loadText(`${HEAD}${list}: [{ cidr: 192.0.2.0/24, socket: none, ${keys} }]`)
    for (const protocol of ['tcp', '6']) {
      const { desired } = await entry('blocklist', `protocol: ${protocol}, destination_port: 443`)
      expect(contentOf(desired.state.lists.get('blocklist'))).toEqual({ 'tcp dport 443 socket none': ['192.0.2.0/24'] })
    }
    for (const keys of ['protocol: udp', 'comment: x', 'protocol: tcp, established: pass'])
      await expect(entry('blocklist', keys)).rejects.toMatchObject({ diagnostics: [{ code: 'E250', at: { line: 3 } }] })
    await expect(entry('allowlist', 'protocol: tcp')).rejects.toMatchObject({ diagnostics: [{ code: 'E250' }] })
  })

  test('entries without a name belong to the list of their kind; ranges are merged per scope', async () => {
    const { desired } = await loadText(`${HEAD}allowlist: [10.0.0.0/9, 10.128.0.0/9]
blocklist:
  - 192.0.2.1
  - 192.0.2.0-192.0.2.255
  - "2001:db8::/32"
  - { cidr: 192.0.2.9, protocol: udp, source_port: [53, 50-52, 60, 40-55] }
  - { cidr: 192.0.2.8, protocol: 17, source_port: ["40-55", 60] }
  - { name: named, cidrs: [::1, 192.0.2.7], protocol: icmp, comment: x }
`)
    expect([...desired.state.lists.keys()]).toEqual(['allowlist', 'blocklist', 'named'])
    expect(contentOf(desired.state.lists.get('allowlist'))).toEqual({ any: ['10.0.0.0/8'] })
    expect(contentOf(desired.state.lists.get('blocklist'))).toEqual({
      any: ['192.0.2.0/24', '2001:db8::/32'],
      'udp sport 40-55,60': ['192.0.2.8/31'],
    })
    expect(contentOf(desired.state.lists.get('named'))).toEqual({ icmp: ['192.0.2.7', '::1'] })
    expect(desired.state.lists.get('named')?.kind).toBe('blocklist')
  })

  test('a scope of all ports differs from one without ports, because fragments have no ports', async () => {
    const { desired } = await loadText(
      `${HEAD}blocklist: [{ cidr: 192.0.2.1, protocol: tcp, destination_port: 0-65535 }, { cidr: 192.0.2.1, protocol: tcp }]\n`,
    )
    expect(Object.keys(contentOf(desired.state.lists.get('blocklist')))).toEqual(['tcp', 'tcp dport 0-65535'])
  })

  test('interfaces of entries are part of the scope, in any order, also of interfaces in another file', async () => {
    const text = `version: 1
interfaces: { eth1: {}, eth0: {} }
include: [more.yaml]
blocklist:
  - { cidr: 192.0.2.1, interfaces: [eth1, eth0] }
  - { cidr: 192.0.2.2, interfaces: [eth0, eth1] }
  - { cidr: 192.0.2.3, protocol: tcp, destination_port: 22, interfaces: [lan] }
  - 192.0.2.4
`
    const more = 'interfaces: { lan: {} }\nblocklist: [{ cidr: 192.0.2.5, interfaces: [eth0] }]\n'
    const { desired, warnings } = await loadText(text, { 'more.yaml': more })
    expect(warnings).toEqual([])
    expect(contentOf(desired.state.lists.get('blocklist'))).toEqual({
      any: ['192.0.2.4'],
      'any on eth0': ['192.0.2.5'],
      'any on eth0 eth1': ['192.0.2.1-192.0.2.2'],
      'tcp dport 22 on lan': ['192.0.2.3'],
    })
  })

  test('65 different sets of interfaces are one error', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `eth${i}`)
    const pairs = names.flatMap((one, i) => names.slice(i + 1).map((other) => `[${one}, ${other}]`))
    const entries = (count: number) =>
      pairs.slice(0, count).map((pair, i) => `  - { cidr: 192.0.2.${i}, interfaces: ${pair} }\n`)
    const head = `version: 1\ninterfaces: { ${names.map((name) => `${name}: {}`).join(', ')} }\nblocklist:\n`
    await expect(loadText(head + entries(64).join(''))).resolves.toBeDefined()
    const errors = await errorsOf(join(writeFiles({ 'xdp.yaml': head + entries(66).join('') }), 'xdp.yaml'))
    expect(errors).toMatchObject([{ code: 'E216', at: { line: 68, column: 37 } }])
  })

  test('warns about entries of interfaces that do not filter, and not about everything on one interface', async () => {
    const { warnings } = await loadText(`version: 1
interfaces: { eth0: {}, eth1: { roles: [balance] } }
allowlist: [{ cidr: 0.0.0.0/0, interfaces: [eth0] }]
blocklist:
  - { name: idle, cidr: 192.0.2.1, interfaces: [eth1] }
  - { name: busy, cidr: 192.0.2.1, interfaces: [eth0, eth1] }
`)
    expect(warnings).toMatchObject([{ code: 'W007', at: { line: 5 }, message: expect.stringContaining('list idle') }])
  })

  test('a list file may have comments, blank lines, CRLF, a byte order mark and no newline at its end', async () => {
    const file =
      '\ufeff# a list\r\n192.0.2.1\r\n\r\n \t192.0.2.16/28 # rack\r\n192.0.2.5-192.0.2.6#x\n2001:db8::1\n198.51.100.1'
    const { desired } = await loadText(`${HEAD}blocklist: [{ file: lists/a.txt }]\n`, { 'lists/a.txt': file })
    expect(contentOf(desired.state.lists.get('blocklist'))).toEqual({
      any: ['192.0.2.1', '192.0.2.5-192.0.2.6', '192.0.2.16/28', '198.51.100.1', '2001:db8::1'],
    })
    const { files, lists } = desired.provenance
    expect(files).toEqual([desired.config.path, join(desired.config.path, '../lists/a.txt')])
    const [source, ...more] = lists.get('blocklist') ?? expect.unreachable()
    expect(more).toEqual([])
    expect(source).toMatchObject({ file: 1, set: 0 })
    expect([...(source?.v4.line ?? [])]).toEqual([2, 4, 5, 7])
    expect([...(source?.v6.line ?? [])]).toEqual([6])
  })

  test('entries keep their text order and lines, by set', async () => {
    const { desired } = await loadText(`${HEAD}blocklist:
  - { cidr: 192.0.2.1, protocol: udp }
  - 192.0.2.0/24
  - 10.0.0.0/8
  - 192.0.2.0-192.0.2.9
  - 10.0.0.0/8
`)
    const sources = desired.provenance.lists.get('blocklist') ?? expect.unreachable()
    const rows = sources.flatMap(({ v4, set }) =>
      Array.from({ length: v4.length }, (_, at) => [
        formatRange(4, v4.start, v4.end, at),
        v4.line[at],
        scopeKey((desired.state.lists.get('blocklist') as List).sets[set]?.scope as never),
      ]),
    )
    expect(rows).toEqual([
      ['192.0.2.1', 4, 'udp'],
      ['192.0.2.0/24', 5, 'any'],
      ['10.0.0.0/8', 6, 'any'],
      ['192.0.2.0-192.0.2.9', 7, 'any'],
      ['10.0.0.0/8', 8, 'any'],
    ])
  })

  test('an alias repeats a value, with the place of the alias', async () => {
    const { desired } = await loadText(`${HEAD}allowlist: &both [192.0.2.1]\nblocklist: *both\n`)
    expect(contentOf(desired.state.lists.get('blocklist'))).toEqual({ any: ['192.0.2.1'] })
  })

  test('thousands of entries in random order are sorted, and found with their lines', async () => {
    const step = 2_654_435_761
    const lines = Array.from({ length: 20_000 }, (_, index) => {
      const word = Math.imul(index + 1, step) >>> 0
      return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`
    })
    const { desired } = await loadText(`${HEAD}blocklist: [{ file: a.txt }, { file: b.txt }]\n`, {
      'a.txt': lines.join('\n'),
      'b.txt': lines.map((line) => `::${line}\n`).join(''),
    })
    const { v4, v6 } = desired.state.lists.get('blocklist')?.sets[0]?.addresses ?? expect.unreachable()
    const words = new Set(Array.from({ length: 20_000 }, (_, index) => Math.imul(index + 1, step) >>> 0))
    for (const [ranges, width] of [
      [v4, 1],
      [v6, 4],
    ] as const) {
      const low = Array.from({ length: ranges.length }, (_, at) => ranges.start[(at + 1) * width - 1] as number)
      expect(low.every((word, at) => words.has(word) && word > (low[at - 1] ?? -1))).toBe(true)
      expect(low.length).toBeGreaterThan(15_000)
    }
    for (let line = 1; line <= 20_000; line += 77) {
      const word = Math.imul(line, step) >>> 0
      const origin = (family: 4 | 6, address: Uint32Array): string | undefined =>
        originOf(desired.provenance, 'blocklist', family, address)?.at.split('/').at(-1)
      if (contains(v4, Uint32Array.of(word)) >= 0) expect(origin(4, Uint32Array.of(word))).toBe(`a.txt:${line}`)
      expect(origin(6, Uint32Array.of(0, 0, 0, word))).toBe(`b.txt:${line}`)
    }
  })
})

test('the digest is that of sha256sum, and changes with every list file', async () => {
  const text = `${HEAD}blocklist: []\n`
  const plain = await loadText(text)
  expect(plain.desired.config.sha256).toBe(createHash('sha256').update(text).digest('hex'))
  const withFile = `${HEAD}blocklist: [{ file: a }]\n`
  const digests = await Promise.all(
    ['192.0.2.1', '192.0.2.2'].map(async (a) => (await loadText(withFile, { a })).desired.config.sha256),
  )
  expect(new Set(digests).size).toBe(2)
})

describe('files', () => {
  test('other files than regular ones are refused without being opened, with exit status 66', async () => {
    const directory = writeFiles({ 'a/b': '' })
    execFileSync('mkfifo', [join(directory, 'fifo')])
    for (const path of [directory, join(directory, 'fifo'), '/dev/zero', '/dev/null']) {
      expect((await errorsOf(path)).map(({ code }) => code)).toEqual(['E002'])
    }
    for (const path of [join(directory, 'none'), join(directory, 'a/b/c')]) {
      expect((await errorsOf(path)).map(({ code }) => code)).toEqual(['E001'])
    }
    await expect(loadConfig(directory)).rejects.toMatchObject({ exit: 66 })
  })

  test('a config over 4 MiB and a list file over 1 GiB are refused before reading', async () => {
    const directory = writeFiles({ 'xdp.yaml': `${HEAD}blocklist: [{ file: huge }]\n`, huge: '', 'big.yaml': '' })
    truncateSync(join(directory, 'huge'), 1024 ** 3 + 1)
    truncateSync(join(directory, 'big.yaml'), 100 * 1024 ** 2)
    expect(await errorsOf(join(directory, 'xdp.yaml'))).toMatchObject([{ code: 'E003', at: { line: 3, column: 21 } }])
    expect(await errorsOf(join(directory, 'big.yaml'))).toMatchObject([{ code: 'E003' }])
  })

  test('a list file in several entries is read once', async () => {
    const entries = '  - { file: a, protocol: tcp }\n  - { file: a, protocol: udp }\n'
    const { desired } = await loadText(`${HEAD}blocklist:\n${entries}`, { a: '192.0.2.1\n' })
    expect(desired.provenance.files).toHaveLength(2)
  })
})

describe('endless nesting is an error with its place', () => {
  const message = 'values nest deeper than 32 levels'
  const DEEP: Readonly<Record<string, readonly [text: (depth: number) => string, column: number]>> = {
    brackets: [(depth) => `a: ${'['.repeat(depth)}${']'.repeat(depth)}\n`, 36],
    'brackets without an end': [(depth) => `a: ${'['.repeat(depth)}\n`, 36],
    mappings: [(depth) => `a: ${'{b: '.repeat(depth)}${'}'.repeat(depth)}\n`, 132],
    'lists in lists': [(depth) => `${'- '.repeat(depth)}x\n`, 67],
  }
  test.each(Object.entries(DEEP))('of %s', async (name, [text, column]) => {
    const isOpen = name.endsWith('without an end')
    for (const depth of isOpen ? [5000] : [40, 1000, 5000, 20_000]) {
      const errors = await errorsOf(join(writeFiles({ x: text(depth) }), 'x'))
      expect(errors).toMatchObject([{ code: 'E005', message, at: { line: 1, column } }])
    }
  })
})

describe('include', () => {
  const places = async (files: Readonly<Record<string, string>>, link: (directory: string) => void) => {
    const directory = writeFiles(files)
    link(directory)
    const errors = await errorsOf(join(directory, 'xdp.yaml'))
    return errors.map(({ code, at, hint }) => [code, at?.file.replace(`${directory}/`, ''), at?.line, hint])
  }
  const HINT = 'keep included files in a separate directory, such as conf.d/'
  const LOOPS: Readonly<Record<string, (directory: string) => void>> = {
    'a symbolic link': (directory) => symlinkSync('xdp.yaml', join(directory, 'other.yaml')),
    'a link to a link': (directory) => {
      symlinkSync(join(directory, 'xdp.yaml'), join(directory, 'between.yaml'))
      symlinkSync('between.yaml', join(directory, 'other.yaml'))
    },
    'a hard link': (directory) => linkSync(join(directory, 'xdp.yaml'), join(directory, 'other.yaml')),
  }
  test.each(Object.entries(LOOPS))('of the file itself, through %s, is one error', async (_, link) => {
    const text = `${HEAD}include: [other.yaml]\nblocklist: [{ name: a, cidr: 192.0.2.1 }]\n`
    expect(await places({ 'xdp.yaml': text }, link)).toEqual([['E013', 'xdp.yaml', 3, HINT]])
  })

  test('of the file itself, through a link to its directory, is one error', async () => {
    const text = `${HEAD}include: ["./conf.d/../xdp.yaml", here/xdp.yaml, "here/x*.yaml"]\n`
    const link = (directory: string): void => symlinkSync('.', join(directory, 'here'))
    expect(await places({ 'xdp.yaml': text, 'conf.d/x': '' }, link)).toEqual(
      Array.from({ length: 3 }, () => ['E013', 'xdp.yaml', 3, HINT]),
    )
  })

  test('reads a file once, whatever names it has', async () => {
    const directory = writeFiles({
      'xdp.yaml': `${HEAD}include: [a.yaml, ./a.yaml, conf.d/*.yaml]\n`,
      'a.yaml': 'blocklist: [{ name: a, cidr: 192.0.2.1 }]\npolicy: { default: drop }\n',
      'conf.d/x': '',
    })
    symlinkSync('../a.yaml', join(directory, 'conf.d/b.yaml'))
    const reads = newReads()
    const { desired } = await loadConfig(join(directory, 'xdp.yaml'), { reads })
    expect([...desired.state.lists.keys()]).toEqual(['a'])
    // A daemon watches every name.
    expect(reads.files.map((path) => path.replace(`${directory}/`, ''))).toEqual([
      'xdp.yaml',
      'a.yaml',
      'conf.d/b.yaml',
    ])
    expect(new Set(reads.files.slice(1).map((path) => reads.digests.get(path))).size).toBe(1)
  })

  test('of an empty file is an error at its place in the top file', async () => {
    const text = `${HEAD}include: [a.yaml]\n`
    const hint = expect.stringContaining('remove it from `include`')
    expect(await places({ 'xdp.yaml': text, 'a.yaml': '# nothing\n' }, () => undefined)).toEqual([
      ['E006', 'xdp.yaml', 3, hint],
    ])
  })
})

describe('hints about blanks in an address', () => {
  const HINTS: Readonly<Record<string, string>> = {
    '1.2.3.4\\n': 'remove the line break: 1.2.3.4',
    '\\r\\n1.2.3.4': 'remove the line break: 1.2.3.4',
    '1.2.3.4\\t': 'remove the tab: 1.2.3.4',
    ' 1.2.3.0/24 ': 'remove the spaces: 1.2.3.0/24',
    '1.2.3.4\\n1.2.3.5': 'write one address, CIDR or range per entry: it has a line break',
    '\\n': 'write [] for an empty list',
  }
  test.each(Object.entries(HINTS))('%s', async (written, hint) => {
    const text = `${HEAD}blocklist: ["${written}"]\n`
    expect(await errorsOf(join(writeFiles({ x: text }), 'x'))).toMatchObject([{ code: 'E020', hint }])
  })
})

test('findConfig returns the given path, and else names both default paths in its error', () => {
  expect(findConfig('anything')).toBe('anything')
  try {
    expect(['xdp.yaml', '/etc/xdp/xdp.yaml']).toContain(findConfig())
  } catch (error) {
    expect(error).toBeInstanceOf(XdpError)
    expect((error as XdpError).message).toContain('./xdp.yaml nor /etc/xdp/xdp.yaml')
    expect((error as XdpError).exit).toBe(66)
  }
})

describe('examples', () => {
  const directory = join(ROOT, 'examples')
  test.each(readdirSync(directory).filter((name) => name.endsWith('.yaml')))(
    '%s is valid, without warnings',
    async (name) => {
      expect((await loadConfig(join(directory, name))).warnings).toEqual([])
    },
  )

  test('xdp.yaml.example is valid where it is copied to, without warnings', async () => {
    const place = writeFiles({})
    cpSync(join(ROOT, 'xdp.yaml.example'), join(place, 'xdp.yaml'))
    expect((await loadConfig(join(place, 'xdp.yaml'))).warnings).toEqual([])
  })

  test('xdp.yaml.example is valid with its lists of files too', async () => {
    const place = writeFiles({})
    cpSync(directory, place, { recursive: true })
    const tour = readFileSync(join(ROOT, 'xdp.yaml.example'), 'utf8')
    const [, lines = ''] = /# Lists in files[^\n]*\n((?: {2}#.*\n)+)/.exec(tour) ?? []
    const whole = tour.replace(lines, lines.replaceAll(/^ {2}# ?/gm, '  '))
    writeFileSync(join(place, 'tour.yaml'), whole)
    const { desired, warnings } = await loadConfig(join(place, 'tour.yaml'))
    expect(warnings).toEqual([])
    expect([...desired.state.lists.keys()]).toEqual(expect.arrayContaining(['open-resolvers', 'feed']))
  })

  test('xdp.yaml.example has every key', () => {
    const tour = readFileSync(join(ROOT, 'xdp.yaml.example'), 'utf8')
    const names = new Set(keyNames(readSchema('xdp')))
    expect([...names].filter((name) => !new RegExp(`[ {\`\n]${name}:`).test(tour))).toEqual([])
  })
})

test('warnings have a place', async () => {
  const { warnings } = await loadText(`${HEAD}allowlist: ["::/0"]\nblocklist: [0.0.0.0/1, 128.0.0.0/1]\n`)
  expect(warnings).toMatchObject([
    { code: 'W001', severity: 'warning', at: { line: 3 } },
    { code: 'W002', severity: 'warning', at: { line: 4 } },
  ])
})

describe('watch', () => {
  test('has defaults for missing keys', async () => {
    expect((await loadText(HEAD)).desired.watch).toEqual({
      debounceMs: 100,
      resyncMs: 60_000,
      onDrift: 'repair',
      onStop: 'keep',
      metrics: undefined,
    })
  })

  test('is read with units', async () => {
    const text = `${HEAD}watch: { debounce: 0ms, resync: 2h, on_drift: report, on_stop: detach, metrics: "[::1]:9469" }\n`
    expect((await loadText(text)).desired.watch).toEqual({
      debounceMs: 0,
      resyncMs: 7_200_000,
      onDrift: 'report',
      onStop: 'detach',
      metrics: { address: '::1', port: 9469 },
    })
  })
})

describe('the paths that loading reports', () => {
  const readsOf = async (files: Readonly<Record<string, string>>) => {
    const directory = writeFiles(files)
    const reads = newReads()
    const failed = await loadConfig(join(directory, 'xdp.yaml'), { reads }).then(
      () => false,
      () => true,
    )
    const relative = (paths: readonly string[]) => paths.map((path) => path.replace(`${directory}/`, ''))
    return { failed, files: relative(reads.files), patterns: relative([...reads.patterns.keys()]) }
  }

  test('are the config, included files, list files, and patterns', async () => {
    const files = {
      'xdp.yaml': `${HEAD}include: [conf.d/*.yaml, more.yaml]\nblocklist: [{ file: lists/a*.txt }]\n`,
      'conf.d/b.yaml': 'blocklist: [{ name: b, file: ../lists/b.txt }]',
      'more.yaml': 'policy: { default: pass }',
      'lists/a1.txt': '192.0.2.1',
      'lists/b.txt': '192.0.2.2',
    }
    expect(await readsOf(files)).toEqual({
      failed: false,
      files: ['xdp.yaml', 'conf.d/b.yaml', 'more.yaml', 'lists/a1.txt', 'lists/b.txt'],
      patterns: ['conf.d/*.yaml', 'lists/a*.txt'],
    })
  })

  test('include missing files and files with errors', async () => {
    expect(await readsOf({})).toEqual({ failed: true, files: ['xdp.yaml'], patterns: [] })
    expect(await readsOf({ 'xdp.yaml': 'a: [' })).toEqual({ failed: true, files: ['xdp.yaml'], patterns: [] })
    const text = `${HEAD}include: [none.yaml, no*.yml]\nblocklist: [{ file: gone.txt }]\n`
    expect(await readsOf({ 'xdp.yaml': text })).toEqual({
      failed: true,
      files: ['xdp.yaml', 'none.yaml', 'gone.txt'],
      patterns: ['no*.yml'],
    })
  })
})
