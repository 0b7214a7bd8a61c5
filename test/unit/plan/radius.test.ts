// The blast radius: what a plan may remove, block and name, with the arithmetic and the guilty line.

import { describe, expect, test } from 'vitest'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import type { State } from '../../../src/model/state.ts'
import { type Accepted, NONE_ACCEPTED } from '../../../src/plan/feeds.ts'
import { plan } from '../../../src/plan/plan.ts'
import { guardRadius } from '../../../src/plan/radius.ts'
import { HEAD, loadText } from '../../support/config.ts'
import { link, live, PROGRAM } from '../../support/states.ts'

const links = [link('eth0')]

/** Errors of a plan from one config to another; the paths of files are relative. */
async function refused(
  before: string | undefined,
  after: string,
  { accepted = {}, files = {} }: { accepted?: Partial<Accepted>; files?: Readonly<Record<string, string>> } = {},
): Promise<readonly Diagnostic[]> {
  const { desired } = await loadText(HEAD + after, files)
  const old = before === undefined ? undefined : (await loadText(HEAD + before, files)).desired.state
  const now = live({ links, ...(old ? { state: { ...old, program: PROGRAM } satisfies State } : {}) })
  const made = plan(desired, now, PROGRAM)
  const directory = `${desired.config.path.slice(0, -'xdp.yaml'.length)}`
  const relative = (text: string): string => text.replaceAll(directory, '')
  return guardRadius(desired, made, now.state, { ...NONE_ACCEPTED, ...accepted }).map((one) => ({
    ...one,
    message: relative(one.message),
    ...(one.at ? { at: { ...one.at, file: relative(one.at.file) } } : {}),
  }))
}

const hosts = (count: number, first = 0): string =>
  Array.from({ length: count }, (_, i) => `192.0.${(first + i) >> 7}.${((first + i) & 127) * 2}`).join(', ')

describe('limits.max_removed', () => {
  const limit = (amount: string): string => `limits: { max_removed: ${amount} }\n`
  const lists = (...texts: readonly string[]): string =>
    `blocklist:${texts.map((text, i) => `\n  - { name: l${i}, cidrs: [${text}] }`).join('')}\n`

  test('counts the prefixes that one apply removes from a list, with the arithmetic', async () => {
    const [error, ...more] = await refused(lists(hosts(100)), limit('50%') + lists(hosts(40)))
    expect(more).toEqual([])
    expect(error).toMatchObject({ code: 'E245', at: { file: 'xdp.yaml', line: 3, column: 24 } })
    expect(error?.message).toBe('this would remove 60 of 100 prefixes of list l0 (60%), but limits.max_removed is 50%')
    expect(error?.hint).toContain('--accept-removed')
  })

  test('permits exactly the limit, and what the flag accepts', async () => {
    expect(await refused(lists(hosts(100)), limit('50%') + lists(hosts(50)))).toEqual([])
    const accepted = { acceptRemoved: true }
    expect(await refused(lists(hosts(100)), limit('0%') + lists(hosts(1)), { accepted })).toEqual([])
  })

  test('counts replaced prefixes, lists that go, and all lists together', async () => {
    const replaced = await refused(lists(hosts(100)), limit('50%') + lists(hosts(100, 1000)))
    expect(replaced[0]?.message).toContain('100 of 100 prefixes of list l0 (100%)')
    const gone = await refused(lists(hosts(100), hosts(20, 500)), limit('50%') + lists(hosts(100)))
    expect(gone[0]?.message).toContain('20 of 20 prefixes of list l1 (100%), but')
    const together = await refused(lists(hosts(100), hosts(100, 500)), limit('70') + lists(hosts(60), hosts(60, 500)))
    expect(together[0]?.message).toContain(
      '80 of 200 prefixes of all lists together (40%), but limits.max_removed is 70',
    )
  })

  test('counts a prefix once that loses a part of its addresses', async () => {
    const wide = ['2001:db8::/32', ...Array.from({ length: 10 }, (_, i) => `203.0.${2 * i}.0/24`)].join(', ')
    const holes = wide.replace('203.0.0.0/24', '203.0.0.7').replace('2001:db8::/32', '2001:db8:8000::/33')
    const [cut] = await refused(lists(wide), limit('10%') + lists(holes))
    expect(cut?.message).toContain('2 of 11 prefixes of list l0 (18.18%)')
    const [error] = await refused(lists(wide), `${limit('50%')}${lists('192.0.2.1')}`)
    expect(error?.message).toMatch(/(\d+) of \1 prefixes of list l0 \(100%\)/)
    expect(await refused(lists(wide), limit('100%') + lists('203.0.0.7, 203.0.3.9, 2001:db8::1'))).toEqual([])
  })

  test('does not count wider entries, other scopes, few prefixes, or repairs', async () => {
    expect(await refused(lists(hosts(100)), limit('0%') + lists('192.0.0.0/16'))).toEqual([])
    const moved = 'blocklist: [{ name: l0, cidrs: ['.concat(hosts(100), '], protocol: tcp }]\n')
    expect(await refused(lists(hosts(100)), limit('0%') + moved)).toEqual([])
    expect(await refused(lists(hosts(9)), limit('50%') + lists(hosts(1)))).toEqual([])
    expect((await refused(lists(hosts(9)), limit('7') + lists(hosts(1))))[0]?.code).toBe('E245')
    expect(await refused(undefined, limit('0') + lists(hosts(9)))).toEqual([])
    const { desired } = await loadText(HEAD + limit('0') + lists(hosts(20)))
    const drifted = { ...desired.state, program: PROGRAM }
    const now = live({ links, state: drifted, drift: new Map([['list:l0', 'changed']]) })
    const made = plan(desired, now, PROGRAM)
    expect(made.changes).toMatchObject([{ key: 'list:l0', reason: 'drift' }])
    expect(guardRadius(desired, made, now.state, NONE_ACCEPTED)).toEqual([])
  })
})

describe('limits.max_blocked', () => {
  const limit = (share: string): string => `limits: { max_blocked: ${share} }\n`

  test('is a share of all IPv4 addresses, and the error names the widest entry', async () => {
    const [error] = await refused(undefined, `${limit('5%')}blocklist:\n  - 10.0.0.0/8\n  - 128.0.0.0/4\n`)
    expect(error).toMatchObject({ code: 'E246', at: { file: 'xdp.yaml', line: 6, column: 1 } })
    expect(error?.message).toBe(
      'the blocklists would block 6.64% of all IPv4 addresses (285,212,672 of 4,294,967,296), but limits.max_blocked is 5%; ' +
        'the widest entry is 128.0.0.0/4 of list blocklist (xdp.yaml:6:1)',
    )
    expect(error?.hint).toContain('--accept-blocked')
  })

  test('is a share of 2000::/3, in which the widest entry may be in a list file', async () => {
    const after = `${limit('0.5%')}blocklist: [{ name: wide, file: wide.txt, min_prefix: { v6: 8 } }, "fc00::/7"]\n`
    const [error, ...more] = await refused(undefined, after, { files: { 'wide.txt': '2001:db8::/32\n2400::/10\n' } })
    expect(more).toEqual([])
    expect(error).toMatchObject({ code: 'E246', at: { file: 'wide.txt', line: 2 } })
    expect(error?.message).toContain('0.78% of all networks of 64 bits in 2000::/3')
    expect(error?.message).toContain('2400::/10 of list wide (wide.txt:2:1)')
  })

  test('does not count overlaps twice, allowed addresses, entries for ports, or the default', async () => {
    const within = [
      '[0.0.0.0/5, 1.0.0.0/8, 0.0.0.0/5]',
      '[{ cidr: 0.0.0.0/0, protocol: udp, source_port: 53 }]',
      '[0.0.0.0/1]\nallowlist: [0.0.0.0/2, 64.0.0.0/3]',
    ]
    for (const list of within) expect(await refused(undefined, `${limit('12.5%')}blocklist: ${list}\n`)).toEqual([])
    expect(await refused(undefined, `${limit('0%')}policy: { default: drop }\nallowlist: [192.0.2.1]\n`)).toEqual([])
    const spared = '[0.0.0.0/1]\nallowlist: [{ cidr: 0.0.0.0/1, protocol: tcp }]'
    expect((await refused(undefined, `${limit('12.5%')}blocklist: ${spared}\n`))[0]?.code).toBe('E246')
  })

  test('holds for edits of lists alone, so that a policy that was accepted can be repaired and moved', async () => {
    const wide = 'blocklist: [0.0.0.0/1]\n'
    expect(await refused(wide, limit('5%') + wide)).toEqual([])
    expect(await refused(wide, `${limit('5%')}policy: { unparsed: drop }\n${wide}`)).toEqual([])
    expect((await refused(wide, `${limit('5%')}blocklist: [0.0.0.0/1, 192.0.2.1]\n`))[0]?.code).toBe('E246')
    const accepted = { acceptBlocked: true }
    expect(await refused(undefined, limit('5%') + wide, { accepted })).toEqual([])
  })
})

describe('limits.widest', () => {
  const limit = 'limits: { widest: { v4: 8, v6: 19 } }\n'

  test('names entries that are wider, prefixes and ranges', async () => {
    const entries = ['10.0.0.0/7', '1.0.0.0-2.0.0.0', '10.0.0.0/8', '2001::/18', '3.0.0.5-4.0.0.4', '2001::/19']
    const after = `${limit}blocklist:\n${entries.map((entry) => `  - "${entry}"\n`).join('')}`
    const [error, ...more] = await refused(undefined, after)
    expect(more).toEqual([])
    expect(error).toMatchObject({ code: 'E247', at: { file: 'xdp.yaml', line: 5 } })
    expect(error?.message).toBe(
      'limits.widest: 10.0.0.0/7 of list blocklist (xdp.yaml:5:1) is wider than /8; ' +
        '1.0.0.0-2.0.0.0 of list blocklist (xdp.yaml:6:1), 16,777,217 addresses is wider than /8; ' +
        '2001::/18 of list blocklist (xdp.yaml:8:1) is wider than /19',
    )
    expect(await refused(undefined, after, { accepted: { acceptWide: true } })).toEqual([])
  })

  test('spares allowlists, entries for ports, and the family without a number', async () => {
    const spared = 'allowlist: [0.0.0.0/1]\nblocklist: [{ cidr: 0.0.0.0/0, protocol: udp, source_port: 53 }]\n'
    expect(await refused(undefined, limit + spared)).toEqual([])
    expect(await refused(undefined, 'limits: { widest: { v6: 19 } }\nblocklist: [0.0.0.0/1]\n')).toEqual([])
    const many = `${limit}blocklist: [0.0.0.0/7, 2.0.0.0/7, 4.0.0.0/7, 6.0.0.0/7, 8.0.0.0/7]\n`
    expect((await refused(undefined, many))[0]?.message).toMatch(/; and 2 more$/)
  })
})
