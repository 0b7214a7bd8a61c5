// Cases in which a list keeps its live content instead of taking its files.
import { expect, test } from 'vitest'
import type { Feed, FeedFile } from '../../../src/model/desired.ts'
import type { List } from '../../../src/model/state.ts'
import { PLAIN_TERMS, type Terms } from '../../../src/plan/feeds.ts'
import { plan } from '../../../src/plan/plan.ts'
import { ANY, DNS, desired, link, list, live, PROGRAM, scoped, state } from '../../support/states.ts'

const NOW = 1_800_000_000
const AT = { file: 'xdp.yaml', line: 9, column: 5, length: 4 }

const file = (facts: Partial<FeedFile> = {}): FeedFile => ({
  path: 'drop.txt',
  format: 'plain',
  entries: 1,
  skipped: 0,
  private: 0,
  wide: 0,
  updatedAt: NOW,
  notes: [],
  ...facts,
})
const feed = (facts: Partial<Feed> = {}): Feed => ({
  list: 'drop',
  at: AT,
  files: [file()],
  maxAge: undefined,
  maxShrink: 0.5,
  maxGrowth: 100,
  inline: [],
  ...facts,
})

const hosts = (count: number): string[] => Array.from({ length: count }, (_, index) => `192.0.2.${index * 2}`)
const drop = (...texts: readonly string[]): List => list('blocklist', 'drop', scoped(ANY, ...texts))
const parts = { program: PROGRAM, policy: 'pass', interfaces: { eth0: ['native'] } } as const

interface Outcome {
  readonly codes: readonly string[]
  readonly content: List | undefined
  readonly message: string
}

function decide(current: List | undefined, wanted: List, feeds: readonly Feed[], terms: Partial<Terms> = {}): Outcome {
  const file = { ...desired(state({ ...parts, lists: [wanted] })), feeds }
  const now = live({
    state: state({ ...parts, lists: current ? [current] : [] }),
    links: [link('eth0', { kind: 'physical' })],
  })
  const all = { ...PLAIN_TERMS, now: NOW, ...terms }
  const { state: reached, warnings } = plan(file, now, PROGRAM, all)
  const content = reached.lists.get(wanted.name)
  return { codes: warnings.map(({ code }) => code), content, message: warnings[0]?.message ?? '' }
}

test('a feed that lost more than half of its prefixes keeps the live ones', () => {
  const { codes, content, message } = decide(drop(...hosts(100)), drop(...hosts(49)), [feed()])
  expect(codes).toEqual(['W210'])
  expect(content).toEqual(drop(...hosts(100)))
  expect(message).toBe(
    'list drop would go from 100 to 49 prefixes, 51% fewer, but max_shrink is 50%: it keeps its live content',
  )
})

test('a feed that lost exactly half of its prefixes is applied', () => {
  const { codes, content } = decide(drop(...hosts(100)), drop(...hosts(50)), [feed()])
  expect(codes).toEqual([])
  expect(content).toEqual(drop(...hosts(50)))
})

test('the feed sets max_shrink', () => {
  expect(decide(drop(...hosts(100)), drop(...hosts(89)), [feed({ maxShrink: 0.1 })]).codes).toEqual(['W210'])
  expect(decide(drop(...hosts(100)), drop(...hosts(1)), [feed({ maxShrink: 1 })]).codes).toEqual([])
  expect(decide(drop(...hosts(100)), drop(...hosts(99)), [feed({ maxShrink: 0 })]).codes).toEqual(['W210'])
})

test('--accept-shrink applies a shrunken feed without a warning', () => {
  const wanted = drop('192.0.2.0')
  expect(decide(drop(...hosts(100)), wanted, [feed()], { acceptShrink: true })).toMatchObject({
    codes: [],
    content: wanted,
  })
})

test('equal addresses in fewer, wider prefixes are no loss, nor are different addresses in their place', () => {
  expect(decide(drop(...hosts(100)), drop('192.0.2.0/24'), [feed()]).codes).toEqual([])
  const others = hosts(100).map((text) => text.replace('192.0.2', '198.51.100'))
  expect(decide(drop(...hosts(100)), drop(...others), [feed()]).codes).toEqual([])
})

test('a file older than max_age is ignored, even if it grew', () => {
  const old = feed({ maxAge: 36 * 3600, files: [file(), file({ path: 'old.txt', updatedAt: NOW - 37 * 3600 })] })
  const { codes, content, message } = decide(drop(...hosts(10)), drop(...hosts(20)), [old])
  expect(codes).toEqual(['W209'])
  expect(content).toEqual(drop(...hosts(10)))
  expect(message).toBe('old.txt is 37 hours old, but max_age is 36 hours: list drop keeps its live content')
  const taken = decide(drop(...hosts(10)), drop(...hosts(20)), [old], { acceptShrink: true })
  expect(taken).toMatchObject({ codes: [], content: drop(...hosts(20)) })
  const fresh = feed({ maxAge: 36 * 3600, files: [file({ updatedAt: NOW - 36 * 3600 })] })
  expect(decide(drop(...hosts(10)), drop(...hosts(20)), [fresh]).codes).toEqual([])
})

test('an old file is applied if the list has no live content', () => {
  const old = feed({ maxAge: 3600, files: [file({ updatedAt: NOW - 86_400 * 9 })] })
  const { codes, content, message } = decide(undefined, drop(...hosts(3)), [old])
  expect(codes).toEqual(['W209'])
  expect(content).toEqual(drop(...hosts(3)))
  expect(message).toContain('drop.txt is 9 days old, but max_age is 60 minutes: list drop takes it anyway')
  const allowed = { ...drop(...hosts(100)), kind: 'allowlist' } as const
  expect(decide(allowed, drop(...hosts(3)), [feed()]).content).toEqual(drop(...hosts(3)))
})

test('kept live content gets the scope that the file has now', () => {
  const wanted = list('blocklist', 'drop', scoped(DNS, '192.0.2.0'))
  const { codes, content } = decide(drop(...hosts(9)), wanted, [feed()])
  expect(codes).toEqual(['W210'])
  expect(content).toEqual(list('blocklist', 'drop', scoped(DNS, ...hosts(9))))
})

test('inline entries of a list with a stale feed take effect', () => {
  const current = list('blocklist', 'blocklist', scoped(ANY, ...hosts(9)))
  const inline = [scoped(ANY, '203.0.113.1'), scoped(DNS, '203.0.113.2')]
  const wanted = list('blocklist', 'blocklist', scoped(ANY, '192.0.2.0', '203.0.113.1'), scoped(DNS, '203.0.113.2'))
  const { codes, content } = decide(current, wanted, [feed({ list: 'blocklist', inline })])
  expect(codes).toEqual(['W210'])
  const expected = list('blocklist', 'blocklist', scoped(ANY, ...hosts(9), '203.0.113.1'), scoped(DNS, '203.0.113.2'))
  expect(content).toEqual(expected)
})

test('lists without files may shrink without limit', () => {
  expect(decide(drop(...hosts(100)), drop('192.0.2.0'), []).codes).toEqual([])
})

const manyHosts = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `198.51.${i >> 7}.${(i & 127) * 2}`)

test('a feed that gained more than a hundred times its live prefixes keeps the live ones', () => {
  const { codes, content, message } = decide(drop(...manyHosts(10)), drop(...manyHosts(1011)), [feed()])
  expect(codes).toEqual(['W240'])
  expect(content).toEqual(drop(...manyHosts(10)))
  expect(message).toBe(
    'list drop would go from 10 to 1,011 prefixes, 101 times as many, but max_growth is 10000%: it keeps its live content',
  )
  expect(decide(drop(...manyHosts(10)), drop(...manyHosts(1010)), [feed()]).codes).toEqual([])
})

test('the feed sets max_growth', () => {
  const twice = [drop(...hosts(50)), drop(...hosts(100))] as const
  expect(decide(...twice, [feed({ maxGrowth: 0.9 })]).codes).toEqual(['W240'])
  expect(decide(...twice, [feed({ maxGrowth: 1 })]).codes).toEqual([])
  expect(decide(...twice, [feed({ maxGrowth: 0 })]).codes).toEqual(['W240'])
  const all = drop('0.0.0.0/1', ...manyHosts(500))
  expect(decide(drop('192.0.2.0'), all, [feed({ maxGrowth: Number.POSITIVE_INFINITY })]).codes).toEqual([])
})

test('a feed that gained more than 1/16 of an address space keeps the live prefixes', () => {
  const sixteenth = drop('192.0.2.0', '16.0.0.0/5', '24.0.0.0/5')
  expect(decide(drop('192.0.2.0'), sixteenth, [feed()]).codes).toEqual([])
  const more = decide(drop('192.0.2.0'), drop('192.0.2.0', '16.0.0.0/4', '64.0.0.0/8'), [feed()])
  expect(more).toMatchObject({ codes: ['W240'], content: drop('192.0.2.0') })
  expect(more.message).toBe(
    'list drop would cover 6.64% more of all IPv4 addresses, but a list may gain 6.25% at once: it keeps its live content',
  )
  expect(decide(drop('192.0.2.0'), drop('192.0.2.0', '2000::/7'), [feed()]).codes).toEqual([])
  expect(decide(drop('192.0.2.0'), drop('192.0.2.0', '2000::/7', '3000::/16'), [feed()]).codes).toEqual(['W240'])
  // Outside 2000::/3 there are no hosts.
  expect(decide(drop('192.0.2.0'), drop('192.0.2.0', '4000::/2'), [feed()]).codes).toEqual([])
})

test('a wide list that changes little is applied, and one without live content is applied with a warning', () => {
  const wide = ['16.0.0.0/4', '32.0.0.0/4']
  expect(decide(drop(...wide), drop(...wide, '64.0.0.0/8'), [feed()]).codes).toEqual([])
  const first = decide(undefined, drop(...wide), [feed()])
  expect(first).toMatchObject({ codes: ['W240'], content: drop(...wide) })
  expect(first.message).toContain('list drop would cover 12.5% more of all IPv4 addresses')
  expect(first.message).toMatch(/it takes it anyway$/)
})

test('--accept-growth accepts growth alone, and --accept-shrink everything else', () => {
  const grown = [drop('192.0.2.0'), drop('32.0.0.0/3'), [feed()]] as const
  expect(decide(...grown, { acceptGrowth: true })).toMatchObject({ codes: [], content: drop('32.0.0.0/3') })
  expect(decide(...grown, { acceptShrink: true }).codes).toEqual(['W240'])
  const shrunken = [drop(...hosts(100)), drop('192.0.2.0'), [feed()]] as const
  expect(decide(...shrunken, { acceptGrowth: true }).codes).toEqual(['W210'])
  // A list that lost most of its prefixes may also have gained most addresses.
  const both = [drop(...hosts(100)), drop('32.0.0.0/3'), [feed()]] as const
  expect(decide(...both).codes).toEqual(['W210'])
  expect(decide(...both, { acceptShrink: true }).codes).toEqual(['W240'])
  expect(decide(...both, { acceptShrink: true, acceptGrowth: true }).codes).toEqual([])
})
