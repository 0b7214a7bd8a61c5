// Feeds with the addresses in columns or fields: CSV with ranges, JSON documents, and rows chosen by a value.
import { describe, expect, test } from 'vitest'
import { XdpError } from '../../../src/diagnostics.ts'
import type { Ranges } from '../../../src/model/address.ts'
import { formatRange, wordsOf } from '../../../src/model/text.ts'
import { HEAD, loadText } from '../../support/config.ts'

const texts = ({ family, length, start, end }: Ranges): string[] =>
  Array.from({ length }, (_, index) => formatRange(family, start, end, index * wordsOf(family)))

/** The addresses of a file, both families in one array. */
async function read(content: string, keys = ''): Promise<string[]> {
  const entry = `{ name: feed, file: feed, exclude_private: false, min_prefix: { v4: 0, v6: 0 }${keys && `, ${keys}`} }`
  const { desired } = await loadText(`${HEAD}blocklist: [${entry}]\n`, { feed: content })
  const [set] = desired.state.lists.get('feed')?.sets ?? []
  return [...texts(set!.addresses.v4), ...texts(set!.addresses.v6)]
}

interface Refusal {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly place: string
}

/** The first error of reading a file, with its place: the name of the file, line and column. */
async function refusal(content: string, keys = ''): Promise<Refusal> {
  const error: unknown = await read(content, keys).catch((cause: unknown) => cause)
  if (!(error instanceof XdpError)) throw new Error(`the file was read: ${JSON.stringify(error)}`)
  const [{ code, message, hint, at } = { code: '', message: '', hint: undefined, at: undefined }] = error.diagnostics
  const name = at?.file.split('/').at(-1)
  return { code, message, hint, place: `${name}:${at?.line}:${at?.column}` }
}

const GEOIP = `"1.0.1.0","1.0.3.255","16777472","16778239","CN","China"
"1.0.4.0","1.0.7.255","16778240","16779263","AU","Australia"
"1.0.8.0","1.0.15.255","16779264","16781311","CN","China"
`
const DSHIELD = `# DShield.org Recommended Block List
#   updated: Thu Jan  1 00:00:00 2026 UTC
Start\tEnd\tNetmask\tAttacks\tName\tCountry\temail
192.0.2.0\t192.0.2.255\t24\t3034\tEXAMPLE\tUS\tabuse@example.com
198.51.100.0\t198.51.100.255\t24\t2861\t\t\t
`

describe('CSV of ranges', () => {
  test('of GeoIP legacy and DShield are recognised', async () => {
    expect(await read(GEOIP)).toEqual(['1.0.1.0-1.0.15.255'])
    expect(await read(DSHIELD)).toEqual(['192.0.2.0/24', '198.51.100.0/24'])
    expect(await read('192.0.2.10,192.0.2.19,XX\n192.0.2.30,192.0.2.39,XX\n')).toEqual([
      '192.0.2.10-192.0.2.19',
      '192.0.2.30-192.0.2.39',
    ])
    expect(await read('first;last\n2001:db8::;2001:db8::ff\n')).toEqual(['2001:db8::/120'])
    expect(await read(GEOIP, 'format: csv')).toEqual(['1.0.1.0-1.0.15.255'])
  })

  test('columns names them by number, name, or the header in a comment', async () => {
    expect(await read(GEOIP, 'columns: [1, 2]')).toEqual(['1.0.1.0-1.0.15.255'])
    expect(await read(DSHIELD, 'columns: [Start, End]')).toEqual(['192.0.2.0/24', '198.51.100.0/24'])
    expect(await read('# a,first,b,last\nx,192.0.2.0,y,192.0.2.7\n', 'columns: [first, last]')).toEqual([
      '192.0.2.0/29',
    ])
  })

  test('addresses may be decimal numbers', async () => {
    expect(await read(GEOIP, 'columns: [3, 4]')).toEqual(['1.0.1.0-1.0.15.255'])
    const v6 = '"42540766411282592856903984951653826560","42540766411282592856903984951653826815","XX"\n'
    expect(await read(v6, 'columns: [1, 2]')).toEqual(['2001:db8::/120'])
    expect(await read('0,4294967295\n', 'columns: [1, 2]')).toEqual(['0.0.0.0/0'])
    expect(await refusal('16777216,99999999999999\n', 'columns: [1, 2]')).toMatchObject({ code: 'E024' })
    // Numbers of IPv4 addresses in IPv6 form.
    expect(await refusal('281470698520576,281470698520831\n', 'columns: [1, 2]')).toMatchObject({ code: 'E025' })
  })

  test('one of two columns of bounds is refused, with what to write instead', async () => {
    for (const keys of ['column: 1', 'column: 2', 'column: 2, on_bad_line: skip']) {
      const { code, message, hint, place } = await refusal(GEOIP, keys)
      expect([code, place]).toEqual(['E036', 'feed:1:1'])
      expect(message).toContain('the columns 1 and 2 hold the first and last address of ranges')
      expect(hint).toContain('write `columns: [1, 2]` for the ranges')
    }
    expect(await refusal(DSHIELD, 'column: Start')).toMatchObject({ code: 'E036', place: 'feed:3:1' })
    expect(await read(GEOIP, 'columns: [1, 1]')).toEqual(['1.0.1.0', '1.0.4.0', '1.0.8.0'])
  })

  test('columns of unrelated addresses may be read alone', async () => {
    const flows = 'from,to\n198.51.100.7,192.0.2.1\n192.0.2.9,203.0.113.1\n'
    expect(await read(flows, 'column: from')).toEqual(['192.0.2.9', '198.51.100.7'])
    expect(await read('192.0.2.1,192.0.2.1\n', 'column: 1')).toEqual(['192.0.2.1'])
  })

  test.each([
    ['two addresses and nothing else on a line', '192.0.2.1,192.0.2.9\n198.51.100.1,198.51.100.9\n'],
    ['three columns of addresses', '192.0.2.1,192.0.2.9,192.0.2.3\n'],
    ['two columns in no order', 'a,b\n198.51.100.7,192.0.2.1\n'],
  ])('%s are ambiguous', async (_, content) => {
    const { code, message, hint } = await refusal(content)
    expect([code, message]).toEqual(['E036', expect.stringMatching(/^the columns 1, 2 and 3|1 and 2 hold addresses$/)])
    expect(hint).toContain('write `columns: [1, 2]`')
  })

  test('a row that is no range names its fault and place', async () => {
    const bad = async (row: string): Promise<unknown> => {
      const { code, place, message } = await refusal(`192.0.2.0,192.0.2.9,XX\n${row}\n`, 'columns: [1, 2]')
      return [code, place, message]
    }
    expect(await bad('192.0.2.9,192.0.2.1')).toEqual([
      'E023',
      'feed:2:1',
      '"192.0.2.9-192.0.2.1" ends before it starts',
    ])
    expect(await bad('192.0.2.9,2001:db8::1')).toEqual(['E024', 'feed:2:1', expect.any(String)])
    expect(await bad('192.0.2.9,x')).toEqual([
      'E020',
      'feed:2:1',
      '"x" is not an address that can be the last of a range',
    ])
    expect(await bad('192.0.2.9')).toEqual(['E020', 'feed:2:1', 'the row has no column 2'])
    expect(await read('192.0.2.0,192.0.2.9,XX\nx\n', 'columns: [1, 2], on_bad_line: skip')).toHaveLength(1)
  })

  test('without a column of addresses, the columns are listed', async () => {
    const { code, hint } = await refusal('a,b\n16777216,16777471\n', 'format: csv')
    expect([code, hint]).toEqual(['E036', expect.stringContaining('The first row is "a", "b"')])
  })
})

describe('where', () => {
  test('takes the rows with a value in a column', async () => {
    expect(await read(GEOIP, 'where: { column: 5, equals: CN }')).toEqual(['1.0.1.0-1.0.3.255', '1.0.8.0/21'])
    expect(await read(GEOIP, 'columns: [3, 4], where: { column: 6, equals: Australia }')).toEqual(['1.0.4.0/22'])
    expect(await read(DSHIELD, 'where: { column: Country, equals: US }')).toEqual(['192.0.2.0/24'])
    expect(
      await read('net,count\n192.0.2.1,7\n192.0.2.2,8\n', 'column: net, where: { column: count, equals: 7 }'),
    ).toEqual(['192.0.2.1'])
    expect(await read('"192.0.2.1","say ""x"""\n', `column: 1, where: { column: 2, equals: 'say "x"' }`)).toEqual([
      '192.0.2.1',
    ])
  })

  test('does not judge the other rows', async () => {
    expect(await read('192.0.2.1,a\nrubbish,b\n', 'column: 1, where: { column: 2, equals: a }')).toEqual(['192.0.2.1'])
  })

  test('an unknown column and a value that nothing has are errors', async () => {
    const unknown = await refusal(DSHIELD, 'where: { column: country, equals: US }')
    expect(unknown).toMatchObject({ code: 'E036', message: 'no column is named "country"' })
    expect(await refusal(GEOIP, 'where: { column: 5, equals: XX }')).toMatchObject({
      code: 'E006',
      hint: 'nothing in it has 5 equal to "XX"',
    })
    expect(await refusal('192.0.2.1,a\n192.0.2.2\n', 'column: 1, where: { column: 2, equals: a }')).toMatchObject({
      code: 'E020',
      message: 'the row has no column 2',
    })
  })

  test('takes lines of JSON lines', async () => {
    const lines = '{"cidr":"192.0.2.0/25","rir":"a"}\n{"cidr":"192.0.2.128/25","rir":"b"}\n{"type":"metadata"}\n'
    expect(await read(lines, 'where: { column: rir, equals: b }')).toEqual(['192.0.2.128/25'])
    expect(
      await read('{"n":1,"ip":"192.0.2.1"}\n{"n":2,"ip":"192.0.2.2"}\n', 'where: { column: n, equals: 2 }'),
    ).toEqual(['192.0.2.2'])
  })
})

const AWS = {
  syncToken: '1767225600',
  createDate: '2026-01-01-00-00-00',
  prefixes: [
    { ip_prefix: '192.0.2.0/25', region: 'us-east-1', service: 'AMAZON', network_border_group: 'us-east-1' },
    { ip_prefix: '198.51.100.0/24', region: 'eu-west-1', service: 'EC2', network_border_group: 'eu-west-1' },
  ],
  ipv6_prefixes: [{ ipv6_prefix: '2001:db8::/32', region: 'eu-west-1', service: 'EC2' }],
}
const GOOGLE = {
  creationTime: '2026-01-01T00:00:00.000000',
  prefixes: [{ ipv6Prefix: '2001:db8:1::/64' }, { ipv4Prefix: '192.0.2.0/27' }],
}
const GITHUB = {
  verifiable_password_authentication: false,
  ssh_key_fingerprints: { SHA256_RSA: 'x' },
  ssh_keys: ['ssh-ed25519 AAAA'],
  hooks: ['192.0.2.0/24', '2001:db8::/48'],
  web: ['198.51.100.0/24'],
  domains: { website: ['*.github.example'] },
}
const FASTLY = { addresses: ['192.0.2.0/24'], ipv6_addresses: ['2001:db8::/40'] }
const AZURE = {
  changeNumber: 7,
  cloud: 'Public',
  values: [
    {
      name: 'ActionGroup',
      properties: { region: '', systemService: 'ActionGroup', addressPrefixes: ['192.0.2.4/30'] },
    },
    { name: 'Storage', properties: { region: 'x', addressPrefixes: ['198.51.100.0/24', '2001:db8::/64'] } },
  ],
}
const CLOUDFLARE = { result: { ipv4_cidrs: ['192.0.2.0/24'], ipv6_cidrs: ['2001:db8::/32'] }, success: true }
const ORACLE = { regions: [{ region: 'a', cidrs: [{ cidr: '192.0.2.0/24', tags: ['OCI'] }] }] }

describe('JSON documents', () => {
  const shapes = [
    ['AWS', AWS, ['192.0.2.0/25', '198.51.100.0/24', '2001:db8::/32']],
    ['Google, Bing and OpenAI', GOOGLE, ['192.0.2.0/27', '2001:db8:1::/64']],
    ['GitHub', GITHUB, ['192.0.2.0/24', '198.51.100.0/24', '2001:db8::/48']],
    ['Fastly', FASTLY, ['192.0.2.0/24', '2001:db8::/40']],
    ['Azure', AZURE, ['192.0.2.4/30', '198.51.100.0/24', '2001:db8::/64']],
    ['Cloudflare', CLOUDFLARE, ['192.0.2.0/24', '2001:db8::/32']],
    ['Oracle', ORACLE, ['192.0.2.0/24']],
    ['a list of texts', ['192.0.2.1', '192.0.2.9-192.0.2.11'], ['192.0.2.1', '192.0.2.9-192.0.2.11']],
    ['a list of objects', [{ ip: '192.0.2.1' }], ['192.0.2.1']],
    [
      'both families in one object',
      [{ ipv4Prefix: '192.0.2.1', ipv6Prefix: '2001:db8::1' }],
      ['192.0.2.1', '2001:db8::1'],
    ],
  ] as const

  test.each(shapes)('of %s are read, on one line or many', async (_, value, expected) => {
    for (const indent of [0, 1, 4])
      expect(await read(`${JSON.stringify(value, undefined, indent)}\n`)).toEqual(expected)
    expect(await read(JSON.stringify(value, undefined, 2).replaceAll('\n', '\r\n'), 'format: json')).toEqual(expected)
  })

  test('column takes one key, and where objects by a field in or around them', async () => {
    const many = (value: unknown): string => JSON.stringify(value, undefined, 2)
    expect(await read(many(GITHUB), 'column: hooks')).toEqual(['192.0.2.0/24', '2001:db8::/48'])
    expect(await read(many(AWS), 'where: { column: service, equals: EC2 }')).toEqual([
      '198.51.100.0/24',
      '2001:db8::/32',
    ])
    expect(await read(many(AWS), 'column: ip_prefix, where: { column: region, equals: eu-west-1 }')).toEqual([
      '198.51.100.0/24',
    ])
    expect(await read(many(AZURE), 'where: { column: name, equals: ActionGroup }')).toEqual(['192.0.2.4/30'])
    expect(await read(many(AZURE), 'where: { column: region, equals: x }')).toEqual([
      '198.51.100.0/24',
      '2001:db8::/64',
    ])
  })

  test('two equal keys are both read', async () => {
    expect(await read('{"a":["192.0.2.1"],\n"a":["192.0.2.4"]}')).toEqual(['192.0.2.1', '192.0.2.4'])
  })

  test('their time is the age of the feed, and each entry has its line', async () => {
    const load = (value: unknown) =>
      loadText(`${HEAD}blocklist: [{ name: feed, file: feed }]\n`, { feed: JSON.stringify(value, undefined, 1) })
    for (const value of [AWS, GOOGLE])
      expect((await load(value)).desired.feeds[0]?.files[0]?.updatedAt).toBe(1_767_225_600)
    const { desired } = await load(['192.0.2.1', '192.0.2.2', '192.0.2.3'])
    expect([...desired.provenance.lists.get('feed')![0]!.v4.line]).toEqual([2, 3, 4])
  })

  test.each([
    ['a bad entry', '{"prefixes": [\n  {"é": 1, "ip_prefix": "192.0.2.1/24"}]}', '', 'E021', 'feed:2:25'],
    ['an entry that is no text', '[\n"192.0.2.1",\n7]', '', 'E020', 'feed:3:1'],
    ['a document that is cut off', '{"prefixes": [\n{"ip_prefix": "192.0.2.0/24"},\n', '', 'E020', 'feed:2:31'],
    ['a document that nests too deeply', `${'['.repeat(99)}${']'.repeat(99)}`, '', 'E020', 'feed:1:66'],
    ['a document without addresses', '{"a": {"b": ["x"]},\n"c": 1}', '', 'E036', 'feed:1:1'],
    ['a column that is not there', '["192.0.2.1"]', 'column: x', 'E036', 'feed:1:1'],
    ['a field of where that is not there', '["192.0.2.1"]', 'where: { column: x, equals: 1 }', 'E036', 'feed:1:1'],
    [
      'a value that nothing has',
      '[{"ip": "192.0.2.1", "x": 2}]',
      'where: { column: x, equals: 1 }',
      'E006',
      'xdp.yaml:3:33',
    ],
  ])('%s is an error with its place', async (_, content, keys, code, place) => {
    expect(await refusal(content, keys)).toMatchObject({ code, place })
  })

  test('the keys of a document without addresses are listed', async () => {
    const { hint } = await refusal('{"a": {"b": ["x"]},\n"c": 1}')
    expect(hint).toBe('name the key that holds the addresses: `column: NAME`; its keys are "a", "b", "c"')
  })
})

test('file does not take a URL, and the hint says how to fetch it', async () => {
  const error: unknown = await loadText(`${HEAD}blocklist: [{ file: "https://example.com/list.txt" }]\n`).catch(
    (e) => e,
  )
  const [{ code, hint, at } = { code: '', hint: '', at: undefined }] = (error as XdpError).diagnostics
  expect([code, at?.line]).toEqual(['E013', 3])
  expect(hint).toContain('`url: https://example.com/list.txt`')
})

describe('keys about columns', () => {
  test.each([
    ['format: plain, columns: [1, 2]', 'format plain has no columns'],
    ['format: ipset, where: { column: 1, equals: a }', 'format ipset has no columns'],
    ['column: 1, columns: [1, 2]', 'the entry has column and columns, but may have only one of them'],
    ['format: json, columns: [a, b]', 'format json has no ranges in two fields'],
  ])('%s is an error', async (keys, message) => {
    expect(await refusal('192.0.2.1\n', keys)).toMatchObject({ code: 'E036', message })
  })
})

describe('text behind an entry of a plain list', () => {
  test('is an error that says to make it a comment', async () => {
    const { code, message, hint, place } = await refusal('192.0.2.1\n192.0.2.0/24 some words\n')
    expect([code, message, place]).toEqual(['E020', 'text follows the entry 192.0.2.0/24', 'feed:2:1'])
    expect(hint).toContain('start the text with "#": 192.0.2.0/24 # some words')
  })

  test('is never read as one address if it is a range or a netmask', async () => {
    expect((await refusal('192.0.2.1 192.0.2.9\n')).hint).toBe(
      'write 192.0.2.1-192.0.2.9 for the range, or each address on its own line',
    )
    expect((await refusal('192.0.2.9 192.0.2.1\n')).hint).toBe('write each address on its own line')
    expect((await refusal('192.0.2.0 255.255.255.0\n')).hint).toBe('write 192.0.2.0/24')
    expect((await refusal('192.0.2.1 to 192.0.2.9\n')).code).toBe('E020')
  })
})
