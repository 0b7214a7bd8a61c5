// Rates and SYN proxies of other filters become rate limits and SYN protection, if a limit drops no more than the rule.
import { describe, expect, test } from 'vitest'
import { composeAll, importText, load, losses, rows } from '../../support/import.ts'

const save = (policy: string, ...rules: readonly string[]): string =>
  ['*filter', `:INPUT ${policy} [0:0]`, ...rules.map((rule) => `-A INPUT ${rule}`), 'COMMIT', ''].join('\n')

const iptables = (...rules: readonly string[]) =>
  importText('iptables', save('ACCEPT', ...rules), { ignore: ['fragments'] })

const limitsOf = async (imported: ReturnType<typeof importText>): Promise<readonly string[]> => {
  const { state } = (await load(composeAll(imported))).desired
  return [...(state.rateLimits?.values() ?? [])].map(
    ({ name, per, packets, prefix }) =>
      `${name} per ${per}${per === 'source' ? ` /${prefix.v4} /${prefix.v6}` : ''} ${packets?.perSecond}+${packets?.burst}`,
  )
}

const HASHLIMIT = '-m hashlimit --hashlimit-mode srcip --hashlimit-name h'

describe('iptables', () => {
  test.each<[string, readonly string[], string]>([
    [
      'limit before a drop',
      ['-p icmp -m limit --limit 10/sec --limit-burst 20 -j ACCEPT', '-p icmp -j DROP'],
      'icmp per all 10+20',
    ],
    [
      'hashlimit of sources',
      [`-p udp -m udp --dport 53 ${HASHLIMIT} --hashlimit-above 30/sec --hashlimit-burst 20 -j DROP`],
      'h per source /32 /128 30+20',
    ],
    [
      'hashlimit of networks',
      [`-p udp ${HASHLIMIT} --hashlimit-above 30/sec --hashlimit-srcmask 24 -j DROP`],
      'h per source /24 /128 30+5',
    ],
    [
      'hashlimit up to a rate, before a drop',
      [`-p udp -m udp --dport 53 ${HASHLIMIT} --hashlimit-upto 30/sec -j ACCEPT`, '-p udp -m udp --dport 53 -j DROP'],
      'h per source /32 /128 30+5',
    ],
    [
      'hashlimit of SYNs',
      [`-p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN ${HASHLIMIT} --hashlimit-above 10/sec -j DROP`],
      'h per source /32 /128 10+5',
    ],
    [
      'hashlimit of services',
      [
        '-p udp -m hashlimit --hashlimit-mode dstip,dstport --hashlimit-name d --hashlimit-above 100/sec --hashlimit-burst 100 -j DROP',
      ],
      'd per service 100+100',
    ],
  ])('%s', async (_, rules, expected) => {
    const found = iptables(...rules)
    expect({ limits: await limitsOf(found), losses: losses(found) }).toEqual({ limits: [expected], losses: [] })
  })

  test('a limit of the sources of a set has all of them, in a file of their own', async () => {
    const members = Array.from({ length: 300 }, (_, i) => `add scanners 10.${i >> 7}.${i & 127}.0/25`)
    const rule = `-p udp -m set --match-set scanners src ${HASHLIMIT} --hashlimit-above 30/sec --hashlimit-burst 20 -j DROP`
    const found = importText('iptables', save('ACCEPT', rule), {
      beside: [['create scanners hash:net family inet', ...members, ''].join('\n')],
      ignore: ['fragments'],
    })
    expect(losses(found)).toEqual([])
    const composed = composeAll(found, 'iptables')
    expect(composed.files.map(({ path }) => path)).toEqual(['lists/rate_limits/h.txt'])
    const { state } = (await load(composed)).desired
    expect(state.rateLimits?.get('h')).toMatchObject({ sources: 'list', packets: { perSecond: 30, burst: 20 } })
    expect(state.lists.get('rate_limit:h')?.sets[0]?.addresses.v4).toHaveLength(300)
  })

  test('new connections count by their SYNs', async () => {
    const rule = `-p tcp -m tcp --dport 22 -m conntrack --ctstate NEW ${HASHLIMIT} --hashlimit-above 10/sec -j DROP`
    const { state } = (await load(composeAll(iptables(rule)))).desired
    expect(state.rateLimits?.get('h')?.scope.match?.tcpFlags).toEqual({ mask: 0x12, value: 0x02 })
  })

  test('a rate below one packet per second, and a source that is soon forgotten, get a higher rate', async () => {
    const slow = iptables('-p icmp -m limit --limit 10/min -j ACCEPT', '-p icmp -j DROP')
    expect(await limitsOf(slow)).toEqual(['icmp per all 1+5'])
    expect(losses(slow).join()).toContain('its limit of 10 packets per 60 s becomes one of 1 per second')
    // A source is forgotten after a second without packets, and then has its burst again.
    const forgotten = iptables(`-p udp ${HASHLIMIT} --hashlimit-above 2/sec --hashlimit-burst 9 -j DROP`)
    expect(await limitsOf(forgotten)).toEqual(['h per source /32 /128 9+9'])
  })

  test.each<[string, readonly string[], string]>([
    ['segments of TCP', [`-p tcp ${HASHLIMIT} --hashlimit-above 30/sec -j DROP`], 'which the kernel joins before'],
    [
      'packets that are not in known connections',
      [
        '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        `-p udp -m udp --dport 53 ${HASHLIMIT} --hashlimit-above 30/sec -j DROP`,
      ],
      'it does not count packets of known connections',
    ],
    [
      'more than it matches',
      [`-p udp ${HASHLIMIT} --hashlimit-above 30/sec -m mac --mac-source 00:11:22:33:44:55 -j DROP`],
      'it uses the match mac',
    ],
    ['bytes', [`-p udp ${HASHLIMIT} --hashlimit-above 512kb/s -j DROP`], 'it matches a rate'],
    [
      'sources with ports',
      ['-p udp -m hashlimit --hashlimit-mode srcip,dstport --hashlimit-name x --hashlimit-above 9/sec -j DROP'],
      'it matches a rate',
    ],
    [
      'earlier packets',
      ['-p udp -m recent --update --seconds 60 --hitcount 4 --name r --rsource -j DROP'],
      'it remembers when packets came',
    ],
  ])('a rule that counts %s becomes no limit', async (_, rules, why) => {
    const found = iptables(...rules)
    expect(await limitsOf(found)).toEqual([])
    expect(losses(found).join()).toContain(why)
  })

  test('a limit that could drop more is a comment', () => {
    const rule =
      '-p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 60 --hitcount 4 --name SSH -j DROP'
    const { config } = composeAll(iptables(rule))
    expect(config).toContain(
      '#   - { name: SSH, protocol: tcp, destination_port: 22, tcp_flags: [ syn, "!ack" ], per: source',
    )
    expect(config).not.toMatch(/^rate_limits/m)
  })

  test('under a default drop, an accept within a rate is an allowlist entry, and no limit', async () => {
    const found = importText('iptables', save('DROP', '-p icmp -m limit --limit 10/sec -j ACCEPT'), {
      ignore: ['fragments'],
    })
    expect(await limitsOf(found)).toEqual([])
    expect(rows(found)).toContain('allow - icmp: 0.0.0.0/0')
    expect(losses(found).join()).toContain('it matches a rate')
  })

  test('an accept in front of a limit takes its packets out of it', async () => {
    const limit = `-p udp ${HASHLIMIT} --hashlimit-above 30/sec -j DROP`
    expect(rows(iptables('-s 10.0.0.0/8 -j ACCEPT', limit))).toEqual(['allow - any: 10.0.0.0/8'])
  })

  test('two accepts within rates for equal packets become no limit', async () => {
    const one = (rate: number) => `-p icmp -m limit --limit ${rate}/sec -j ACCEPT`
    const found = iptables(one(10), one(20), '-p icmp -j DROP')
    expect(await limitsOf(found)).toEqual([])
    expect(rows(found)).toEqual([])
  })

  test('a limit that an accept behind it overrides is named', async () => {
    const limit = `-p udp -m udp --dport 53 ${HASHLIMIT} --hashlimit-above 30/sec -j DROP`
    const found = importText('iptables', save('DROP', limit, '-p udp -m udp --dport 53 -j ACCEPT'), {
      ignore: ['fragments'],
    })
    expect(losses(found).join()).toContain('limits no packets that an allowlist lets pass')
  })

  test('SYNPROXY becomes SYN protection', async () => {
    const rule =
      '-p tcp -m tcp --dport 8080 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --mss 1460'
    const { state } = (await load(composeAll(iptables(rule)))).desired
    expect(state.policy?.syn_protection).toBe('always 2000 8080')
    expect((await load(composeAll(iptables(`-s 10.0.0.0/8 ${rule}`)))).desired.state.policy?.syn_protection).toBe('')
  })
})

describe('nft', () => {
  const FIELD = (protocol: string, field: string) => ({ payload: { protocol, field } })
  const match = (left: unknown, right: unknown, op = '=='): unknown => ({ match: { op, left, right } })
  const DNS = match(FIELD('udp', 'dport'), 53)
  const limit = (fields: object) => ({ limit: { rate: 10, burst: 5, per: 'second', ...fields } })
  const DROP = { drop: null }
  const found = (rules: readonly (readonly unknown[])[], set: object = {}) => {
    const at = { family: 'inet', table: 't' }
    const chain = { ...at, name: 'c', type: 'filter', hook: 'input', prio: 0, policy: 'accept' }
    const all = rules.map((expr) => ({ rule: { ...at, chain: 'c', expr } }))
    const flood = { ...at, name: 'flood', type: 'ipv4_addr', flags: ['dynamic'], ...set }
    return importText('nft', JSON.stringify({ nftables: [{ set: flood }, { chain }, ...all] }), {
      ignore: ['fragments'],
    })
  }
  const perElement = (op: string, elem: unknown) => ({ set: { op, elem, set: '@flood', stmt: [limit({ inv: true })] } })

  test.each<[string, readonly unknown[], string]>([
    ['limit rate over', [DNS, limit({ inv: true }), DROP], 'udp-dport-53 per all 10+5'],
    ['a set', [DNS, perElement('update', FIELD('ip', 'saddr')), DROP], 'flood per source /32 /128 10+5'],
    [
      'a set of networks',
      [DNS, perElement('add', { '&': [FIELD('ip', 'saddr'), '255.255.255.0'] }), DROP],
      'flood per source /24 /128 10+5',
    ],
    ['destinations', [DNS, perElement('add', FIELD('ip6', 'daddr')), DROP], 'flood per destination 10+5'],
    [
      'a meter',
      [DNS, { meter: { key: FIELD('ip', 'saddr'), stmt: limit({ inv: true }), name: 'old' } }, DROP],
      'old per source /32 /128 10+5',
    ],
  ])('%s', async (_, rule, expected) => {
    const imported = found([rule])
    expect({ limits: await limitsOf(imported), losses: losses(imported) }).toEqual({ limits: [expected], losses: [] })
  })

  test('elements that expire while they are used get a higher rate', async () => {
    const imported = found([[DNS, perElement('add', FIELD('ip', 'saddr')), DROP]], { timeout: 1 })
    expect(await limitsOf(imported)).toEqual(['flood per source /32 /128 15+5'])
  })

  test.each<[string, readonly unknown[], string]>([
    ['bytes', [DNS, limit({ inv: true, rate_unit: 'kbytes' }), DROP], 'it counts bytes of IP packets'],
    ['every packet of a chain', [limit({ inv: true }), DNS, DROP], 'it counts packets that it does not match'],
    ['joined segments', [limit({ inv: true }), DROP], 'which the kernel joins before'],
  ])('a rule that counts %s becomes no limit', async (_, rule, why) => {
    const imported = found([rule])
    expect(await limitsOf(imported)).toEqual([])
    expect(losses(imported).join()).toContain(why)
    expect(composeAll(imported).config).toContain('# Near to rules that were left out')
  })

  test('synproxy becomes SYN protection', async () => {
    const state = match({ ct: { key: 'state' } }, ['invalid', 'untracked'], 'in')
    const imported = found([[match(FIELD('tcp', 'dport'), 8080), state, { synproxy: { mss: 1460 } }]])
    expect((await load(composeAll(imported))).desired.state.policy?.syn_protection).toBe('always 2000 8080')
  })

  test('drops of flags for all sources of both families become anomalies', async () => {
    const flags = (mask: readonly string[], right: unknown) => [
      match({ '&': [FIELD('tcp', 'flags'), mask] }, right),
      DROP,
    ]
    const all = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg']
    const imported = found([
      flags(['fin', 'syn'], ['fin', 'syn']),
      flags(all, 0),
      flags(['fin', 'rst'], ['fin', 'rst']),
    ])
    expect((await load(composeAll(imported))).desired.state.policy?.anomalies).toEqual(['tcp_null', 'tcp_syn_fin'])
    expect(rows(imported)).toEqual(['block - tcp flags fin rst: 0.0.0.0/0 ::/0'])
  })
})
