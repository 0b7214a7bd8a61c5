import { describe, expect, test } from 'vitest'
import { captured, importText, losses, rows } from '../../support/import.ts'

const save = (policy: string, ...rules: readonly string[]): string =>
  ['*filter', `:INPUT ${policy} [0:0]`, ':own - [0:0]', ...rules, 'COMMIT', ''].join('\n')

test('output of iptables-save 1.8.9, ip6tables-save and ipset save is imported', () => {
  const beside = [captured('ip6tables-save.txt'), captured('ipset-save.txt')]
  const ignore = ['state', 'forwarding', 'fragments'] as const
  const found = importText('iptables', captured('iptables-save.txt'), { interfaces: ['va'], beside, ignore })
  expect(found.default).toBe('drop')
  const all = rows(found)
  expect(all).toContain('block - tcp dport 22,80,8000-8010: 198.51.100.8')
  expect(all).toContain('block netset any: 10.5.0.0-10.5.0.6 192.0.2.0/24 198.51.100.7')
  expect(all).toContain('block tmo udp sport 123: 1.2.3.4')
  expect(all).toContain('block - 47: 9.9.9.9')
  expect(all).toContain('allow - any: 10.0.0.0/8')
  // From the jump to f2b-sshd, whose own rule has no ports.
  expect(all).toContain('block - tcp dport 22: 7.7.7.7 198.51.100.7')
  // Two of them for the port that nat redirects before INPUT.
  expect(losses(found)).toHaveLength(9)
})

describe('one rule', () => {
  test.each([
    ['-A INPUT -s 10.0.0.0/8 -j DROP', 'block - any: 10.0.0.0/8'],
    ['[3:4] -A INPUT -s 10.0.0.1/32 -j REJECT --reject-with icmp-port-unreachable', 'block - any: 10.0.0.1'],
    ['-A INPUT -s 10.0.0.0/8 -j ACCEPT', 'allow - any: 10.0.0.0/8'],
    ['-A INPUT -s 10.0.0.0/255.0.0.0 -j DROP', 'block - any: 10.0.0.0/8'],
    ['-A INPUT ! -s 128.0.0.0/1 -j DROP', 'block - any: 0.0.0.0/1'],
    ['-A INPUT -s 10.0.0.1/32 -p udp -m udp --sport 53 -j DROP', 'block - udp sport 53: 10.0.0.1'],
    ['-A INPUT -s 10.0.0.1/32 -p tcp -m tcp --dport 1024: -j DROP', 'block - tcp dport 1024-65535: 10.0.0.1'],
    [
      '-A INPUT -s 10.0.0.1/32 -p tcp -m multiport --dports 22,80,90:99 -j DROP',
      'block - tcp dport 22,80,90-99: 10.0.0.1',
    ],
    ['-A INPUT -s 10.0.0.1/32 -p icmp -j DROP', 'block - icmp: 10.0.0.1'],
    ['-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP', 'block - any: 10.0.0.1-10.0.0.9'],
    ['-A INPUT -p tcp -m tcp --dport 25 -j DROP', 'block - tcp dport 25: 0.0.0.0/0'],
    ['-A INPUT -i eth0 -s 10.0.0.1/32 -j DROP', 'block - any: 10.0.0.1'],
    ['-A INPUT -i eth+ -s 10.0.0.1/32 -j DROP', 'block - any: 10.0.0.1'],
  ])('%s', (rule, expected) => {
    const found = importText('iptables', save('ACCEPT', rule), { interfaces: ['eth0'] })
    expect({ rows: rows(found), losses: losses(found) }).toEqual({ rows: [expected], losses: [] })
  })

  test.each([
    ['-A INPUT -s 10.0.0.1/32 -m conntrack --ctstate NEW -j DROP', 'state of connections'],
    ['-A INPUT -s 10.0.0.1/32 -m limit --limit 1/sec -j DROP', 'a rate'],
    ['-A INPUT -s 10.0.0.1/32 -j LOG', 'a log'],
    ['-A INPUT -s 10.0.0.1/32 -j elsewhere', 'neither a verdict nor a chain'],
    ['-A INPUT -s 1.0.0.1/255.0.0.255 -j DROP', 'not a prefix'],
    ['-A INPUT -m set --match-set gone src -j DROP', 'not in the input'],
    ['-A INPUT -p sctp -m sctp --dport 9 -j DROP', 'a protocol other than'],
    ['-A INPUT -m mac --mac-source 00:11:22:33:44:55 -j DROP', 'the match mac'],
  ])('%s is left out', (rule, why) => {
    const found = importText('iptables', save('ACCEPT', rule), { interfaces: ['eth0'] })
    expect(rows(found)).toEqual([])
    expect(losses(found)).toEqual([expect.stringMatching(new RegExp(`^4: left out because .*${why}`))])
  })

  test.each([
    '-A INPUT -i lo -j ACCEPT',
    '-A INPUT -i eth9 -s 10.0.0.1/32 -j DROP',
    '-A OUTPUT -s 10.0.0.1/32 -j DROP',
  ])('%s is ignored: it matches no packet of the config', (rule) => {
    const found = importText('iptables', save('ACCEPT', rule), { interfaces: ['eth0'] })
    expect({ rows: rows(found), losses: losses(found) }).toEqual({ rows: [], losses: [] })
  })
})

describe('header fields', () => {
  test.each([
    ['-d 10.0.0.2/32', 'any to 10.0.0.2'],
    ['! -d 10.0.0.0/9', 'any to 0.0.0.0-9.255.255.255,10.128.0.0-255.255.255.255'],
    ['-m iprange --dst-range 10.0.0.1-10.0.0.9', 'any to 10.0.0.1-10.0.0.9'],
    ['-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN', 'tcp flags !fin syn !rst !ack'],
    ['-p tcp -m tcp --syn', 'tcp flags !fin syn !rst !ack'],
    ['-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE', 'tcp flags !fin !syn !rst !psh !ack !urg'],
    ['-p tcp -m tcp --tcp-flags ALL FIN,PSH,URG', 'tcp flags fin !syn !rst psh !ack urg'],
    ['-p tcp -m tcp ! --tcp-flags SYN SYN', 'tcp flags !syn'],
    ['-p icmp -m icmp --icmp-type 8', 'icmp type echo-request'],
    ['-p icmp -m icmp --icmp-type 3/4', 'icmp type 3/ code 4/'],
    ['-p icmp -m icmp --icmp-type any', 'icmp'],
    ['-p udp -m length --length 0:28', 'udp length 20-28'],
    ['-m length --length 1500:65535', 'any length 1500-65535'],
    ['-m ttl --ttl-lt 5', 'any ttl 0-4'],
    ['-m ttl --ttl-gt 250', 'any ttl 251-255'],
    ['-m dscp --dscp 0x2e', 'any dscp ef'],
    [
      '-p udp -m udp --dport 53 -d 10.0.0.2/32 -m length --length 512:65535',
      'udp dport 53 length 512-65535 to 10.0.0.2',
    ],
  ])('a drop of %s', (options, scope) => {
    const found = importText('iptables', save('ACCEPT', `-A INPUT ${options} -j DROP`), { ignore: ['fragments'] })
    expect({ rows: rows(found), losses: losses(found) }).toEqual({ rows: [`block - ${scope}: 0.0.0.0/0`], losses: [] })
  })

  test('the hop limit and the types of IPv6', () => {
    const rules = '-A INPUT -m hl --hl-lt 2 -j DROP\n-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 137 -j DROP'
    const text = `# Generated by ip6tables-save\n${save('ACCEPT', rules)}`
    expect(rows(importText('iptables', text, { ignore: ['fragments'] }))).toEqual([
      'block - any ttl 0-1: ::/0',
      'block - icmp type redirect: ::/0',
    ])
  })

  test.each([
    ['-A INPUT -p tcp -m length --length 0:100 -j DROP', 'the length of TCP segments, which the kernel joins'],
    ['-A INPUT -p tcp -m length --length 0:100 -j RETURN\n-A INPUT -p tcp -j DROP', 'the length of TCP segments'],
    ['-A INPUT -p icmp -m icmp ! --icmp-type 3/4 -j DROP', 'many codes of ICMP'],
    ['-A INPUT -p tcp -m tcp --tcp-flags SYN WHAT -j DROP', 'its flags are unknown'],
  ])('%s is left out', (rule, why) => {
    const found = importText('iptables', save('ACCEPT', rule), { ignore: ['fragments'] })
    expect(rows(found)).toEqual([])
    expect(losses(found).join()).toContain(why)
  })

  test('a field that another rule changes is not what XDP sees', () => {
    const mangle = '*mangle\n-A PREROUTING -j TTL --ttl-set 64\nCOMMIT\n'
    const found = importText('iptables', `${mangle}${save('ACCEPT', '-A INPUT -m ttl --ttl-lt 5 -j DROP')}`)
    expect(rows(found)).toEqual([])
    expect(losses(found).join()).toContain('another rule changes the field')
  })

  test('fragments are only dropped by chains that get them', () => {
    const rules = '-A INPUT -f -j DROP\n-A INPUT -s 10.0.0.1/32 -j DROP'
    const whole = importText('iptables', save('ACCEPT', rules))
    expect(rows(whole)).toEqual(['block - any: 10.0.0.1'])
    expect(losses(whole).join()).toContain('matches no packet, because the kernel puts fragments together')
    const raw = '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -f -j DROP\nCOMMIT\n'
    expect(rows(importText('iptables', raw))).toEqual(['block - any fragments later: 0.0.0.0/0'])
  })

  test('a drop by flags leaves fragments alone, which may hide theirs', () => {
    const found = importText('iptables', save('ACCEPT', '-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN FIN,SYN -j DROP'))
    expect(rows(found)).toEqual(['block - tcp flags fin syn fragments none: 0.0.0.0/0'])
    expect(losses(found).join()).toContain('leave fragments alone (or use --ignore fragments)')
  })

  test('an accept loses the packets that an earlier drop takes by their flags', () => {
    const rules = '-A INPUT -p tcp --tcp-flags FIN,SYN FIN,SYN -j DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT'
    const found = importText('iptables', save('DROP', rules), { ignore: ['fragments'] })
    expect(rows(found)).toEqual([
      'block - tcp flags fin syn: 0.0.0.0/0',
      'allow - tcp dport 22 flags !fin: 0.0.0.0/0',
      'allow - tcp dport 22 flags fin !syn: 0.0.0.0/0',
      'allow - any: ::/0',
    ])
    expect(losses(found)).toEqual([])
  })
})

describe('the order of rules', () => {
  const found = (...rules: readonly string[]) => importText('iptables', save('ACCEPT', ...rules))

  test('an accept before a drop becomes an allowlist entry', () => {
    const both = found('-A INPUT -s 10.1.0.0/16 -j ACCEPT', '-A INPUT -s 10.0.0.0/8 -j DROP')
    expect(rows(both)).toEqual(['allow - any: 10.1.0.0/16', 'block - any: 10.0.0.0/8'])
  })

  test('an accept after a drop loses the dropped addresses', () => {
    const both = found(
      '-A INPUT -s 10.0.0.0/9 -j DROP',
      '-A INPUT -s 10.0.0.0/8 -j ACCEPT',
      '-A INPUT -s 10.0.0.0/7 -j DROP',
    )
    expect(rows(both)).toEqual(['block - any: 10.0.0.0/7', 'allow - any: 10.128.0.0/9'])
    expect(losses(both)).toEqual([])
  })

  test('an accept behind a narrower drop is not needed if nothing is dropped after it', () => {
    const both = found('-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j DROP', '-A INPUT -s 10.0.0.0/8 -j ACCEPT')
    expect({ rows: rows(both), losses: losses(both) }).toEqual({
      rows: ['block - tcp dport 22: 10.0.0.0/8'],
      losses: [],
    })
  })

  test('a later drop loses what an accept behind a narrower drop lets pass', () => {
    const both = found(
      '-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j DROP',
      '-A INPUT -s 10.0.0.0/8 -j ACCEPT',
      '-A INPUT -s 10.0.0.0/7 -j DROP',
    )
    expect({ rows: rows(both), losses: losses(both) }).toEqual({
      rows: ['block - tcp dport 22: 10.0.0.0/8', 'block - any: 11.0.0.0/8'],
      losses: [],
    })
  })

  test('under default drop, an accept overrides an earlier drop that a list cannot take out of it', () => {
    const rules = ['-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j DROP', '-A INPUT -s 10.0.0.0/8 -j ACCEPT']
    const both = importText('iptables', save('DROP', ...rules))
    expect(rows(both)).toContain('allow - any: 10.0.0.0/8')
    expect(losses(both)).toEqual([
      expect.stringMatching(/^5: also lets pass packets that in:4 drops, because an allowlist beats every blocklist/),
    ])
  })

  test('a last rule for all packets becomes the default', () => {
    expect(found('-A INPUT -j DROP', '-A INPUT -s 10.0.0.1/32 -j ACCEPT')).toMatchObject({
      default: 'drop',
      lists: [{ kind: 'allowlist', comment: 'IPv6 passes by default' }],
    })
  })

  test('an early return for all packets ends the chain', () => {
    const both = found(
      '-A INPUT -s 10.0.0.0/8 -j own',
      '-A own -p udp -j DROP',
      '-A own -j RETURN',
      '-A own -j DROP',
      '-A INPUT -s 11.0.0.1/32 -j DROP',
    )
    expect(rows(both)).toEqual(['block - udp: 10.0.0.0/8', 'block - any: 11.0.0.1'])
  })
})

describe('a rule that lets packets pass and that a list cannot express', () => {
  const found = (policy: string, ...rules: readonly string[]) => importText('iptables', save(policy, ...rules))

  test('a return keeps its packets out of the drop behind it, and not out of the calling chain', () => {
    const both = found(
      'DROP',
      '-A INPUT -j own',
      '-A INPUT -s 198.51.100.0/24 -j ACCEPT',
      '-A own -m addrtype --dst-type LOCAL -j RETURN',
      '-A own -j DROP',
    )
    expect(both.default).toBe('drop')
    expect(rows(both)).toEqual(['allow - any: 198.51.100.0/24', 'allow - any: ::/0'])
    expect(losses(both)).toEqual([
      '7: drops fewer packets because some leave its chain at in:6, and it uses the match addrtype: -j DROP',
    ])
  })

  test.each<[string, readonly string[], readonly string[]]>([
    ['an accept of every packet', ['-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT'], []],
    ['a related connection', ['-A INPUT -m conntrack --ctstate RELATED -j ACCEPT'], []],
    [
      'a known connection at a rate',
      ['-A INPUT -m conntrack --ctstate ESTABLISHED -m limit --limit 1/s -j ACCEPT'],
      [],
    ],
    [
      'a known connection of a helper',
      ['-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT', '-A own -j CT --helper ftp'],
      [],
    ],
    [
      'a translated connection',
      ['-A INPUT -m conntrack --ctstate ESTABLISHED,DNAT -j ACCEPT', '-A own -j REDIRECT'],
      [],
    ],
    ['a target that may accept', ['-A INPUT -j NFQUEUE --queue-num 0'], []],
    ['a chain that is not in the input', ['-A INPUT -j gone'], []],
    ['a jump under an unknown condition', ['-A INPUT -m mark --mark 0x1 -j own', '-A own -j ACCEPT'], []],
  ])('%s ends the drops of its chain', (_, rules) => {
    const both = found('DROP', '-A INPUT -s 10.0.0.1/32 -j DROP', ...rules, '-A INPUT -s 10.0.0.2/32 -j DROP')
    expect({ default: both.default, rows: rows(both) }).toEqual({ default: 'pass', rows: ['block - any: 10.0.0.1'] })
    const codes = both.leftOut
      .map(({ code, message }) => `${code} ${message}`)
      .filter((text) => text.startsWith('W403'))
    expect(codes).toEqual([
      expect.stringMatching(/^W403 left out because in:\d may let these packets pass: -s 10.0.0.2/),
      expect.stringMatching(/^W403 its default drop is left out because in:\d may let every packet pass/),
    ])
  })

  test('an accept of known connections excepts those that the host opened from the drops behind it', () => {
    const both = found(
      'DROP',
      '-A INPUT -s 10.0.0.1/32 -j DROP',
      '-A INPUT -j own',
      '-A INPUT -s 10.0.0.2/32 -j DROP',
      '-A own -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT',
    )
    expect([both.default, both.established]).toEqual(['drop', 'pass'])
    expect(rows(both)).toEqual([
      'block - any established judge: 10.0.0.1',
      'allow - icmp: 0.0.0.0-10.0.0.0 10.0.0.2-255.255.255.255',
      'block - any: 10.0.0.2',
      'allow - any: ::/0',
    ])
    expect(both.leftOut.map(({ code, at }) => [code, at?.line])).toEqual([
      ['W402', 7],
      ['W403', 7],
    ])
  })

  test('without a default drop, the entries behind it name the exception', () => {
    const state = '-A INPUT -m state --state ESTABLISHED -j ACCEPT'
    const both = found('ACCEPT', '-A INPUT -s 10.0.0.1/32 -j DROP', state, '-A INPUT -s 10.0.0.2/32 -j DROP')
    expect([both.default, both.established]).toEqual(['pass', 'judge'])
    expect(rows(both)).toEqual(
      expect.arrayContaining(['block - any: 10.0.0.1', 'block - any established pass: 10.0.0.2']),
    )
  })

  test('an accept of known connections for some packets stands for all of them', () => {
    const some = '-A INPUT -s 10.0.0.0/8 -m state --state ESTABLISHED -j ACCEPT'
    const both = found('DROP', some, '-A INPUT -s 10.0.0.2/32 -j DROP')
    expect([both.default, both.established]).toEqual(['drop', 'judge'])
    expect(rows(both)).toContain('allow - any: 10.0.0.0/8')
  })

  test('an accept of some packets becomes an allowlist entry for all that it may match', () => {
    const both = found('DROP', '-A INPUT -p udp -m udp --dport 53 -m mark --mark 0x1 -j ACCEPT')
    expect(rows(both)).toEqual(['allow - udp: 0.0.0.0/0', 'allow - any: ::/0'])
    expect(losses(both)).toEqual([
      expect.stringMatching(/^4: lets more packets pass than the rule because it uses the match mark/),
    ])
  })

  test('without a default drop, the later drops lose its packets instead', () => {
    const both = found(
      'ACCEPT',
      '-A INPUT -s 10.0.0.0/9 -m mark --mark 0x1 -j ACCEPT',
      '-A INPUT -s 10.0.0.0/8 -j DROP',
    )
    expect(rows(both)).toEqual(['block - any: 10.128.0.0/9'])
    expect(losses(both)).toEqual([expect.stringMatching(/^5: drops fewer packets because in:4 may let them pass/)])
  })

  test('it is no loss if nothing is dropped after it', () => {
    const both = found('ACCEPT', '-A INPUT -s 10.0.0.1/32 -j DROP', '-A INPUT -m mark --mark 0x1 -j ACCEPT')
    expect(rows(both)).toEqual(['block - any: 10.0.0.1'])
    expect(both.leftOut.map(({ code }) => code)).toEqual(['W400'])
  })

  test('a rule that drops is left out, and its packets meet the rules behind it', () => {
    const both = found('ACCEPT', '-A INPUT -m mark --mark 0x1 -j DROP', '-A INPUT -s 10.0.0.1/32 -j DROP')
    expect(rows(both)).toEqual(['block - any: 10.0.0.1'])
  })

  test.each<[string, readonly string[], string]>([
    ['whole datagrams', [], 'allow - tcp: 0.0.0.0/0'],
    ['whole datagrams, whose fragments may be dropped', ['fragments'], 'allow - tcp dport 22: 0.0.0.0/0'],
  ])('under default drop, INPUT accepts %s', (_, ignore, expected) => {
    const rule = '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT'
    const text = save('DROP', rule)
    const both = importText('iptables', text, { ignore: ignore as readonly 'fragments'[] })
    expect(rows(both)).toContain(expected)
  })

  test('PREROUTING sees fragments, unless connections are tracked', () => {
    const raw = (...rules: readonly string[]) =>
      rows(importText('iptables', ['*raw', ':PREROUTING DROP [0:0]', ...rules, 'COMMIT', ''].join('\n')))
    const rule = '-A PREROUTING -p tcp -m tcp --dport 22 -j ACCEPT'
    expect(raw(rule)).toContain('allow - tcp dport 22: 0.0.0.0/0')
    expect(raw('-A PREROUTING -m conntrack --ctstate INVALID -j DROP', rule)).toContain('allow - tcp: 0.0.0.0/0')
  })

  test('a redirected port passes, because INPUT sees another port', () => {
    const nat =
      '*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080\nCOMMIT\n'
    const both = importText('iptables', `${save('DROP', '-A INPUT -s 10.0.0.1/32 -j ACCEPT')}${nat}`)
    expect(rows(both)).toContain('allow - tcp: 0.0.0.0/0')
  })

  test('an accept of one chain does not shield from the default drop of another', () => {
    const raw =
      '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 10.1.0.0/16 -j ACCEPT\n-A PREROUTING -s 10.0.0.0/8 -j DROP\nCOMMIT\n'
    const both = importText('iptables', `${raw}${save('DROP', '-A INPUT -s 10.0.0.0/15 -j ACCEPT')}`)
    expect(rows(both)).toContain('block - any: 10.0.0.0/16 10.2.0.0-10.255.255.255')
    expect(rows(both)).toContain('allow - any: 10.1.0.0/16')
  })

  test('a drop that an accept of its chain shadows takes no connections of the host that a later chain spares', () => {
    const raw = '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j ACCEPT\n-A PREROUTING -p tcp -j DROP\nCOMMIT\n'
    const known = '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
    const both = importText('iptables', `${raw}${save('ACCEPT', known, '-A INPUT -p tcp -j DROP')}`, {
      ignore: ['fragments'],
    })
    expect(rows(both)).toEqual(['block - tcp established pass: 0.0.0.0/0'])
  })

  test('an accept before a default drop stays for connections of the host that a later chain spares', () => {
    const raw = '*raw\n:PREROUTING DROP [0:0]\n-A PREROUTING -p udp -j ACCEPT\nCOMMIT\n'
    const known = '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
    const both = importText('iptables', `${raw}${save('ACCEPT', known, '-A INPUT -p udp -j DROP')}`, {
      ignore: ['fragments'],
    })
    expect([both.default, both.established]).toEqual(['drop', 'judge'])
    expect(rows(both)).toContain('allow - udp: 0.0.0.0/0')
    expect(losses(both).join()).toContain('also lets pass packets that')
  })
})

describe('goto', () => {
  const found = (policy: string, ...rules: readonly string[]) => importText('iptables', save(policy, ...rules))

  test('the default decides at the end of the chain that a base chain goes to', () => {
    const both = found('DROP', '-A INPUT -s 10.0.0.0/8 -g own', '-A INPUT -j ACCEPT', '-A own -s 10.1.0.0/16 -j ACCEPT')
    expect(both.default).toBe('pass')
    expect(rows(both)).toEqual(['allow - any: 10.1.0.0/16', 'block - any: 10.0.0.0/8'])
  })

  test('packets do not come back to the chain', () => {
    const both = found(
      'ACCEPT',
      '-A INPUT -s 10.0.0.0/8 -g own',
      '-A INPUT -s 10.0.0.0/7 -j DROP',
      '-A own -s 10.1.0.0/16 -j DROP',
    )
    expect(rows(both)).toEqual(['block - any: 10.0.0.0/7', 'allow - any: 10.0.0.0/16 10.2.0.0-10.255.255.255'])
  })
})

describe('sets with ports', () => {
  const sets = 'create s hash:net,port family inet\nadd s 10.0.0.0/8,tcp:22\nadd s 11.0.0.1,udp:53\n'
  const found = (rule: string) => importText('iptables', `${sets}${save('ACCEPT', rule)}`)

  test.each<[string, readonly string[]]>([
    ['src,dst', ['block s tcp dport 22: 10.0.0.0/8', 'block s udp dport 53: 11.0.0.1']],
    ['src,src', ['block s tcp sport 22: 10.0.0.0/8', 'block s udp sport 53: 11.0.0.1']],
    ['dst,dst', []],
  ])('%s', (direction, expected) => {
    expect(rows(found(`-A INPUT -m set --match-set s ${direction} -j DROP`))).toEqual(expected)
  })

  test('other matches of the rule narrow every entry', () => {
    const rule = '-A INPUT -s 10.0.0.0/9 -p tcp -m set --match-set s src,dst -j DROP'
    expect(rows(found(rule))).toEqual(['block s tcp dport 22: 10.0.0.0/9'])
  })
})

describe('forwarded packets', () => {
  const forward = '-A FORWARD -s 10.0.0.0/8 -j ACCEPT'

  test('drops of INPUT may drop packets that the host forwards', () => {
    const text = save('ACCEPT', '-A INPUT -s 10.0.0.1/32 -j DROP', forward)
    expect(importText('iptables', text).refusal).toMatchObject({ code: 'E406' })
    expect(importText('iptables', text, { ignore: ['forwarding'] }).refusal).toBeUndefined()
  })

  test('drops of PREROUTING apply to them in the source too', () => {
    const raw = '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 10.0.0.1/32 -j DROP\nCOMMIT\n'
    expect(importText('iptables', `${raw}${save('ACCEPT', forward)}`).refusal).toBeUndefined()
  })
})

test('a default drop of IPv6 alone does not drop IPv4', () => {
  const text = [
    '# Generated by ip6tables-save v1.8.9',
    '*filter',
    ':INPUT DROP [0:0]',
    '-A INPUT -s fe80::/10 -j ACCEPT',
    'COMMIT',
  ].join('\n')
  expect(rows(importText('iptables', text))).toEqual(['allow - any: fe80::/10', 'allow - any: 0.0.0.0/0'])
})

test('a default drop of one family is left out if the other family blocks by port', () => {
  const six = [
    '# Generated by ip6tables-save',
    '*filter',
    ':INPUT ACCEPT [0:0]',
    '-A INPUT -s fe80::/10 -p tcp -j DROP',
    'COMMIT',
  ].join('\n')
  const found = importText('iptables', save('DROP'), { beside: [six] })
  expect(found.default).toBe('pass')
  expect(losses(found).join()).toContain('its default drop is left out')
})

test('output of `iptables -S` is imported', () => {
  const found = importText('iptables', '-P INPUT DROP\n-N own\n-A INPUT -s 10.0.0.1/32 -j own\n-A own -j ACCEPT\n')
  expect(found.default).toBe('drop')
  expect(rows(found)[0]).toBe('allow - any: 10.0.0.1')
})

test.each(['nonsense', '{"nftables":[]}', 'add s 10.0.0.1'])('%j is refused', (text) => {
  expect(() => importText('iptables', text)).toThrow('E400')
})
