import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { Ranges } from '../../../src/model/address.ts'
import type { Desired } from '../../../src/model/desired.ts'
import { originOf } from '../../../src/model/provenance.ts'
import type { RateLimit } from '../../../src/model/rate-limit.ts'
import { scopeKey } from '../../../src/model/state.ts'
import { formatRange, wordsOf } from '../../../src/model/text.ts'
import { HEAD, loadText, writeFiles } from '../../support/config.ts'

/** The limits of a config with these items, and what follows them at the top level. */
async function limitsOf(items: string, rest = ''): Promise<readonly RateLimit[]> {
  const { desired } = await loadText(`${HEAD}rate_limits: [${items}]\n${rest}`)
  return [...(desired.state.rateLimits?.values() ?? [])]
}

async function limitOf(keys: string, rest = ''): Promise<RateLimit> {
  const [limit, ...others] = await limitsOf(`{ name: x, ${keys} }`, rest)
  if (limit === undefined || others.length > 0) throw new Error('the config has not one limit')
  return limit
}

const rangesOf = ({ family, length, start, end }: Ranges): string[] =>
  Array.from({ length }, (_, at) => formatRange(family, start, end, at * wordsOf(family)))

const sourceTexts = ({ sources }: RateLimit): string[] | undefined =>
  typeof sources !== 'object'
    ? undefined
    : [sources.v4, sources.v6].flatMap(({ family, length, start, end }) =>
        Array.from({ length }, (_, at) => formatRange(family, start, end, at * wordsOf(family))),
      )

describe('a limit', () => {
  test('counts every packet by its source, and drops beyond a burst of one second, unless it says otherwise', async () => {
    expect(await limitOf('packets_per_second: 1000')).toEqual({
      name: 'x',
      position: 0,
      scope: { protocol: 'any', sourcePorts: [], destinationPorts: [] },
      sources: undefined,
      per: 'source',
      prefix: { v4: 32, v6: 64 },
      packets: { perSecond: 1000, burst: 1000 },
      bits: undefined,
      action: 'drop',
      buckets: 65_536,
    })
  })

  test('has both rates, each with its own burst', async () => {
    const limit = await limitOf('packets_per_second: 7, burst: 25200, bits_per_second: 1M, burst_bits: 3.6G')
    expect(limit).toMatchObject({
      packets: { perSecond: 7, burst: 25_200 },
      bits: { perSecond: 1_000_000, burst: 3_600_000_000 },
    })
  })

  test.each([
    ['64000', 64_000],
    ['1.5e9', 1_500_000_000],
    ['"64000"', 64_000],
    ['64k', 64_000],
    ['64K', 64_000],
    ['1.5G', 1_500_000_000],
    ['0.001M', 1000],
    ['1.1M', 1_100_000],
    ['8.2000G', 8_200_000_000],
    ['12.000000000001T', undefined],
    ['10T', 10_000_000_000_000],
  ])('reads %s as bits exactly', async (text, bits) => {
    const read = limitOf(`bits_per_second: ${text}`)
    if (bits === undefined) await expect(read).rejects.toMatchObject({ diagnostics: [{ code: 'E133' }] })
    else expect((await read).bits).toEqual({ perSecond: bits, burst: Math.max(bits, 12_112) })
  })

  test('lets at least one frame pass: the default burst of bits is no smaller', async () => {
    expect((await limitOf('bits_per_second: 1k')).bits).toEqual({ perSecond: 1000, burst: 12_112 })
  })

  test('has the scope of a list entry, with its ports merged', async () => {
    const keys = 'protocol: udp, source_port: [53, 50-52], destination_port: "0-65535", interfaces: [eth0]'
    expect(scopeKey((await limitOf(`packets_per_second: 1, ${keys}`)).scope)).toBe(
      'udp sport 50-53 dport 0-65535 on eth0',
    )
  })

  test.each([
    ['cidr: 192.0.2.0/24', ['192.0.2.0/24']],
    ['cidrs: [192.0.2.128/25, "2001:db8::/32", 192.0.2.0/25]', ['192.0.2.0/24', '2001:db8::/32']],
    ['cidr: any', undefined],
    ['cidrs: [192.0.2.0/24, any]', undefined],
    ['cidrs: [0.0.0.0/0, "::/0"]', undefined],
    ['cidr: 0.0.0.0/0', ['0.0.0.0/0']],
  ])('with %s counts these sources', async (keys, texts) => {
    expect(sourceTexts(await limitOf(`packets_per_second: 1, ${keys}`))).toEqual(texts)
  })

  test.each([
    ['', { v4: 32, v6: 64 }],
    ['per: destination', { v4: 32, v6: 128 }],
    ['per: service', { v4: 32, v6: 128 }],
    ['per: all', { v4: 32, v6: 64 }],
    ['prefix: { v4: 0 }', { v4: 0, v6: 64 }],
    ['per: service, prefix: { v6: 56 }', { v4: 32, v6: 56 }],
  ])('with %s shares a rate among such prefixes', async (keys, prefix) => {
    expect((await limitOf(`packets_per_second: 1, ${keys}`)).prefix).toEqual(prefix)
  })

  test.each([
    ['', 65_536],
    ['limits: { rate_buckets: 1024 }', 1024],
    ['limits: { rate_buckets: 1025 }', 2048],
    ['limits: { rate_buckets: 16777216 }', 16_777_216],
  ])('with %s has a power of two of buckets', async (limits, buckets) => {
    expect((await limitOf('packets_per_second: 1', `${limits}\n`)).buckets).toBe(buckets)
  })

  test('may have the name of a list and of a service', async () => {
    const [limit] = await limitsOf(
      '{ name: web, packets_per_second: 1 }',
      'blocklist: [{ name: web, cidr: 192.0.2.1 }]\n',
    )
    expect(limit?.name).toBe('web')
  })

  test('shares the 64 sets of interfaces that a policy can name with the lists', async () => {
    const names = Array.from({ length: 63 }, (_, index) => `e${index}`)
    const sets = [...names.map((_, index) => names.slice(index).join()), 'e0,e2']
    const entries = sets.map((set) => `{ cidr: 192.0.2.1, interfaces: [${set}] }`)
    const load = (set: string) =>
      loadText(`version: 1
interfaces: { ${names.map((name) => `${name}: {}`).join()} }
blocklist: [${entries.join()}]
rate_limits: [{ name: x, packets_per_second: 1, interfaces: [${set}] }]
`)
    const { desired } = await load('e2, e0')
    expect(desired.state.rateLimits?.get('x')?.scope.interfaces).toEqual(['e0', 'e2'])
    await expect(load('e3, e1')).rejects.toMatchObject({ diagnostics: [{ code: 'E216', at: { line: 4 } }] })
  })
})

test('a config without limits has none, written or not', async () => {
  expect((await loadText(HEAD)).desired.state).not.toHaveProperty('rateLimits')
  expect((await loadText(`${HEAD}rate_limits: []\n`)).desired.state).not.toHaveProperty('rateLimits')
})

test('limits judge in the order of the files, each with its place', async () => {
  const directory = writeFiles({
    'xdp.yaml': `${HEAD}include: [b.yaml, a.yaml]\nrate_limits:\n  - { name: z, packets_per_second: 1 }\n  - packets_per_second: 1\n    name: y\n`,
    'a.yaml': 'rate_limits: [{ name: a, packets_per_second: 1 }]\n',
    'b.yaml': 'rate_limits: [{ name: c, packets_per_second: 1 }, { name: b, packets_per_second: 1 }]\n',
  })
  const { state, provenance } = (await loadConfig(`${directory}/xdp.yaml`)).desired
  const shown = [...(state.rateLimits ?? [])].map(([name, { position }]) => {
    const at = provenance.rateLimits.get(name)
    return `${position} ${name} ${at?.file.slice(directory.length + 1)}:${at?.line}:${at?.column}`
  })
  expect(shown).toEqual([
    '0 z xdp.yaml:5:13',
    '1 y xdp.yaml:7:11',
    '2 c b.yaml:1:23',
    '3 b b.yaml:1:59',
    '4 a a.yaml:1:23',
  ])
})

describe('warnings', () => {
  const warningsOf = async (items: string, interfaces = '{ eth0: {}, eth1: { roles: [balance] } }') => {
    const { warnings } = await loadText(`version: 1\ninterfaces: ${interfaces}\nrate_limits: [${items}]\n`)
    return warnings.map(({ code, at, message }) => `${code} ${at?.line} ${message}`)
  }

  test('name a limit on interfaces that do not filter', async () => {
    expect(await warningsOf('{ name: x, packets_per_second: 1, interfaces: [eth1] }')).toEqual([
      'W270 3 rate limit x applies on eth1 only, where no packet is filtered',
    ])
    expect(await warningsOf('{ name: x, packets_per_second: 1 }', '{ eth0: { roles: [balance] } }')).toHaveLength(1)
    expect(await warningsOf('{ name: x, packets_per_second: 1, interfaces: [eth0, eth1] }')).toEqual([])
  })

  test('name a limit that one sender uses up for all, unless it only observes', async () => {
    expect(await warningsOf('{ name: x, packets_per_second: 1, per: all }')).toEqual([
      expect.stringMatching(/^W271 3 /),
    ])
    for (const keys of ['action: observe', 'protocol: udp', 'cidr: 192.0.2.0/24'])
      expect(await warningsOf(`{ name: x, packets_per_second: 1, per: all, ${keys} }`)).toEqual([])
  })
})

describe('sources outside of a limit', () => {
  const addresses = (desired: Desired, name: string): string[] =>
    desired.state.lists
      .get(`rate_limit:${name}`)
      ?.sets.flatMap(({ addresses: { v4, v6 } }) => [...rangesOf(v4), ...rangesOf(v6)]) ?? []

  test('of a file are a list of their own, with the line of each entry; private ones stay', async () => {
    const { desired } = await loadText(
      `${HEAD}rate_limits: [{ name: x, packets_per_second: 9, file: x.txt }, { name: y, packets_per_second: 9, cidr: 192.0.2.0/24 }]\n`,
      { 'x.txt': '10.0.0.0/8\n\n198.51.100.7\n2001:db8::/32\n' },
    )
    expect([...(desired.state.rateLimits?.values() ?? [])].map(({ sources }) => sources === 'list')).toEqual([
      true,
      false,
    ])
    expect([...desired.state.lists.values()].map(({ kind, name }) => [kind, name])).toEqual([
      ['sources', 'rate_limit:x'],
    ])
    expect(addresses(desired, 'x')).toEqual(['10.0.0.0/8', '198.51.100.7', '2001:db8::/32'])
    const at = originOf(desired.provenance, 'rate_limit:x', 4, Uint32Array.of(0xc6336407))
    expect(at).toMatchObject({ at: expect.stringMatching(/x\.txt:3$/), entry: '198.51.100.7' })
    expect(desired.feeds).toMatchObject([{ list: 'rate_limit:x', maxShrink: 0.5 }])
  })

  test('that are many are a list, whether merged or not; the word any stays every source', async () => {
    const apart = Array.from({ length: 9 }, (_, i) => `10.0.${i}.1`)
    const { desired } = await loadText(
      `${HEAD}rate_limits: [{ name: few, packets_per_second: 9, cidrs: [${apart.slice(1)}] }, { name: x, packets_per_second: 9, cidrs: [${apart}] }, { name: y, packets_per_second: 9, cidrs: [${apart}, 10.0.0.0/16] }, { name: z, packets_per_second: 9, cidrs: [${apart}, any] }]\n`,
    )
    expect(addresses(desired, 'x')).toHaveLength(9)
    const [few, x, y, z] = [...(desired.state.rateLimits?.values() ?? [])].map(({ sources }) => sources)
    expect([x, z]).toEqual(['list', undefined])
    expect([few, y]).toMatchObject([{ v4: { length: 8 } }, { v4: { length: 1 } }])
  })

  test('that lists decide about before are named: W275', async () => {
    const text = (list: string) =>
      `${HEAD}${list}\nrate_limits: [{ name: x, packets_per_second: 9, cidrs: [192.0.2.0/25, 198.51.100.1] }]\n`
    const codes = async (list: string) => (await loadText(text(list))).warnings.map(({ code }) => code)
    expect(await codes('allowlist: [192.0.2.0/24]\nblocklist: [198.51.100.1]')).toEqual(['W275'])
    expect(await codes('allowlist: [192.0.2.0/24]')).toEqual([])
    expect(await codes('allowlist: [192.0.2.0/24]\nblocklist: [{ cidr: 198.51.100.1, protocol: tcp }]')).toEqual([])
  })
})
