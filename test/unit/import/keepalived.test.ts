// keepalived.conf → services: every keyword that moves packets is expressed, or reported with its line and refused.

import { describe, expect, test } from 'vitest'
import { importFrom } from '../../../src/import/import.ts'
import type { Imported } from '../../../src/import/source.ts'
import { captured, composeAll, importText, load, losses } from '../../support/import.ts'

const fields = ({ services = [] }: Imported) => services.map(({ fields: own }) => own)

/** A virtual server with one backend; the statements of both. */
const virtual = (own = '', server = '', head = '192.0.2.10 80'): string =>
  `virtual_server ${head} {\n${own}\n real_server 10.0.0.1 80 {\n${server}\n }\n real_server 10.0.0.2 80 {\n }\n${/^protocol/m.test(own) ? '' : 'protocol TCP\n'}}\n`

const only = (text: string) => {
  const imported = importText('keepalived', text)
  expect([imported.refusal, fields(imported).length]).toEqual([undefined, 1])
  return fields(imported)[0] as { readonly backends?: unknown; readonly health?: unknown }
}

/** The codes and lines of differences, such as `W241:2`. */
const codes = (text: string, ...ignore: ('services' | 'checks' | 'persistence' | 'thresholds')[]) =>
  importText('keepalived', text, { ignore }).leftOut.map(({ code, at }) => `${code}:${at?.line}`)

/** Why an import is refused: the flag that accepts it. */
const refusal = (text: string) => importText('keepalived', text).refusal?.hint

test('a configuration with every construct becomes services that load', async () => {
  const imported = importText('keepalived', captured('keepalived.conf'))
  expect(imported.refusal).toBeUndefined()
  expect(imported.interfaces).toEqual([{ name: 'eth0', mode: undefined }])
  const composed = composeAll(imported, 'keepalived')
  expect(composed.services.map(({ name, backends }) => `${name} ${backends}`)).toEqual([
    'tcp-192.0.2.10-80 2',
    'tcp-192.0.2.10-443 2',
    'udp-192.0.2.10-53 3',
    ...['tcp-192.0.2.25-25 2', 'tcp-192.0.2.26-25 2', 'tcp-192.0.2.27-25 2', 'tcp-2001-db8--25-25 2'],
  ])
  const { desired, warnings } = await load(composed)
  expect(warnings).toEqual([])
  expect([...desired.state.services.values()].map(({ forwarding, hash }) => `${forwarding} ${hash}`)).toEqual([
    ...['dsr source', 'nat five_tuple', 'gue five_tuple', 'gue five_tuple', 'gue five_tuple', 'gue five_tuple'],
    'ipip source',
  ])
  const [web] = fields(imported)
  expect(web).toEqual({
    vip: '192.0.2.10',
    port: 80,
    protocol: 'tcp',
    forwarding: 'nat',
    backends: [
      { address: '10.0.1.1', port: 8080, weight: 3 },
      { address: '10.0.1.2', port: 8080, weight: 3 },
    ],
    health: {
      ...{ type: 'http', path: '/healthz', status: ['200-299', 301], host: 'www.example.com' },
      ...{ interval: '4s', timeout: '3s', rise: 1, fall: 3 },
    },
    fallback: 'sorry',
    sorry: { address: '10.0.0.99', port: 8080 },
  })
})

test('a second import gives an equal text', () => {
  const once = () => composeAll(importText('keepalived', captured('keepalived.conf')), 'keepalived').config
  expect(once()).toBe(once())
})

describe('schedulers', () => {
  test.each([
    ['rr', {}, [1, 1]],
    ['wrr', {}, [3, 1]],
    ['sh', { hash: 'source' }, [3, 1]],
    ['mh', { hash: 'source' }, [3, 1]],
  ])('%s', (name, expected, weights) => {
    const found = only(virtual(`lb_algo ${name}`, 'weight 3'))
    expect(found).toMatchObject(expected)
    expect(
      (found.backends as (string | { weight?: number })[]).map((one) => (typeof one === 'string' ? 1 : one.weight)),
    ).toEqual(weights)
  })

  test.each(['lc', 'wlc', 'sed', 'nq', 'twos'])('%s is approximated by shares', (name) => {
    expect(codes(virtual(`lb_algo ${name}`))).toEqual(['W242:1'])
  })

  test('without one, wlc; without a method, NAT', () => {
    expect(only('virtual_server 192.0.2.1 80 {\n real_server 10.0.0.1 8080 {\n weight 2\n }\n}')).toMatchObject({
      forwarding: 'nat',
      backends: [{ address: '10.0.0.1', port: 8080, weight: 2 }],
    })
  })

  test.each(['dh', 'lblc', 'lblcr', 'fo', 'ovf', 'constructor'])('%s is refused', (name) => {
    expect(refusal(virtual(`lb_algo ${name}`))).toBe('to accept that: --ignore services')
    expect(fields(importText('keepalived', virtual(`lb_algo ${name}`)))).toEqual([])
  })

  test('ports count with a flag, by name or number', () => {
    for (const flag of ['sh-port', 'flag-2']) expect(only(virtual(`lb_algo sh\n${flag}`))).not.toHaveProperty('hash')
    expect(only(virtual('lb_algo sh\nsh-fallback'))).toHaveProperty('hash', 'source')
  })

  test('persistence is affinity of clients', () => {
    expect(only(virtual('lb_algo rr\npersistence_timeout 50'))).toHaveProperty('hash', 'source')
    expect(only(virtual('lb_algo rr\npersistence_timeout 0'))).not.toHaveProperty('hash')
    const anyPort = virtual('persistence_timeout', '', '192.0.2.10').replaceAll(' 80 {', ' {')
    expect(only(anyPort)).toMatchObject({ hash: 'source', port: 'any' })
  })

  test('without a protocol, UDP', () => {
    const text = virtual('lb_algo rr').replace('protocol TCP', '')
    expect(only(text)).toMatchObject({ protocol: 'udp', udp_timeout: '5m' })
    expect(codes(text)).toEqual(['W242:1'])
  })

  test('one-packet scheduling is at random', () => {
    expect(only(virtual('lb_algo rr\nprotocol UDP\nops'))).toMatchObject({ scheduler: 'random', udp_timeout: '5m' })
  })
})

describe('methods', () => {
  test.each([
    ['DR', { forwarding: 'dsr' }],
    ['TUN', { forwarding: 'ipip' }],
    ['TUN type ipip', { forwarding: 'ipip' }],
    ['TUN type gue port 6081 csum', { forwarding: 'gue', gue_port: 6081 }],
  ])('%s', (method, expected) => {
    expect(only(virtual(`lb_algo rr\nlvs_method ${method}`))).toMatchObject(expected)
  })

  test('a port that no method rewrites is left out, but checked', () => {
    const text =
      'virtual_server 192.0.2.1 80 {\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.1 8080 {\nTCP_CHECK {\n}\n}\nprotocol TCP\n}'
    expect(only(text)).toMatchObject({ backends: ['10.0.0.1'], health: { type: 'tcp', port: 8080 } })
    expect(codes(text)).toEqual(['W400:4'])
  })

  test.each([
    ['GRE tunnels', virtual('lvs_method TUN type gre')],
    ['different methods', virtual('', 'lvs_method DR')],
    ['SCTP', virtual('protocol SCTP')],
    ['a firewall mark', virtual('', '', 'fwmark 3')],
    ['a persistence engine', virtual('persistence_engine sip')],
    ['a backend on this host', virtual().replace('10.0.0.2', '127.0.0.1')],
    ['a backend twice', virtual().replace('10.0.0.2', '10.0.0.1')],
    ['a backend of the other family', virtual().replace('10.0.0.2', '2001:db8::2')],
    ['a backend that is a VIP', virtual().replace('10.0.0.2', '192.0.2.10')],
    [
      'a port of a backend of any port',
      virtual('persistence_timeout', '', '192.0.2.10').replace('10.0.0.1 80', '10.0.0.1 81'),
    ],
    ['a name instead of an address', virtual().replace('10.0.0.2', 'web2.example')],
    ['an unknown keyword', virtual('frobnicate 3')],
    ['an unknown keyword of a server', virtual('', 'frobnicate 3')],
    ['an unknown group', virtual('', '', 'group none')],
    ['a line for some hosts', virtual('@main lb_algo rr')],
    ['a virtual server for some hosts', `@^main ${virtual()}`],
  ])('%s is refused', (_, text) => {
    const imported = importText('keepalived', text)
    expect([imported.refusal?.code, imported.refusal?.hint]).toEqual(['E410', 'to accept that: --ignore services'])
    expect(fields(importText('keepalived', text, { ignore: ['services'] }))).toEqual([])
    expect(importText('keepalived', text, { ignore: ['services'] }).refusal).toBeUndefined()
  })

  test('NAT of two VIPs to one port of a server: replies look alike', () => {
    const other = virtual('lb_algo rr', '', '192.0.2.11 80')
    expect(losses(importText('keepalived', virtual('lb_algo rr') + other))[0]).toMatch(
      /^10: left out: it has NAT .* snat/,
    )
    expect(
      refusal(virtual('lb_algo rr\nlb_kind DR') + virtual('lb_algo rr\nlb_kind DR', '', '192.0.2.11 80')),
    ).toBeUndefined()
  })

  test('limits of connections and networks of clients are refused, and ignored on request', () => {
    expect(refusal(virtual('', 'uthreshold 100'))).toBe('to accept that: --ignore thresholds')
    const granular = virtual('persistence_timeout 50\npersistence_granularity 255.255.255.0')
    expect(refusal(granular)).toBe('to accept that: --ignore persistence')
    expect(importText('keepalived', granular, { ignore: ['persistence'] })).toMatchObject({
      refusal: undefined,
      services: [{ fields: { hash: 'source' } }],
    })
  })
})

describe('checks', () => {
  const health = (checker: string, own = 'lb_algo rr') => only(virtual(own, checker)).backends

  /** Check of the first backend; the second has none. */
  const checked = (checker: string, own?: string) => only(virtual(own ?? 'lb_algo rr', checker)).health

  test('an unchecked server beside a checked one stays up', () => {
    expect(health('TCP_CHECK {\n}')).toEqual(['10.0.0.1', { address: '10.0.0.2', health: false }])
  })

  test.each([
    ['the defaults', 'TCP_CHECK {\n}', { type: 'tcp', interval: '30500ms', timeout: '5s', rise: 1, fall: 2 }],
    ['a port', 'TCP_CHECK {\nconnect_port 81\nretry 0\n}', { port: 81, interval: '60s', fall: 1 }],
    [
      'a path',
      'HTTP_GET {\nurl {\npath /x\n}\n}',
      { type: 'http', path: '/x', status: '200-299', interval: '31500ms' },
    ],
    ['status codes', 'HTTP_GET {\nurl {\npath /\nstatus_code 204\n}\n}', { status: 204 }],
    [
      'a plain text as regular expression',
      'HTTP_GET {\nurl {\npath /\nregex "all is well"\n}\n}',
      { body: 'all is well' },
    ],
    ['TLS without verification', 'SSL_GET {\nurl {\npath /\n}\n}', { type: 'https', verify: false }],
    ['DNS', 'DNS_CHECK {\n}', { type: 'dns', query: '.', record: 'SOA', fall: 4, interval: '60s' }],
    [
      'UDP with an answer',
      'UDP_CHECK {\npayload Ab12f 3\nrequire_reply 00ff\n}',
      { type: 'udp', send_hex: 'ab120f03', expect_hex: '00ff' },
    ],
    [
      'a command',
      'MISC_CHECK {\nmisc_path "/bin/check \'a b\' c"\nuser nagios\n}',
      { type: 'exec', command: ['/bin/check', 'a b', 'c'], user: 'nagios', timeout: '60s' },
    ],
  ])('%s', (_, checker, expected) => {
    expect(checked(checker)).toMatchObject(expected)
  })

  test('the innermost setting wins', () => {
    const own = 'lb_algo rr\ndelay_loop 6\nconnect_timeout 1\nretry 1\nvirtualhost a.example'
    expect(
      checked('delay_before_retry 2\nretry 2\nHTTP_GET {\nconnect_timeout 0.5\nurl {\npath /\n}\n}', own),
    ).toMatchObject({
      ...{ host: 'a.example', timeout: '500ms', fall: 3 },
      // As long as keepalived waits until it gives a server up: 6 s, and twice 2 s.
      interval: '3333ms',
    })
  })

  test('a timeout longer than the interval stretches it', () => {
    expect(checked('TCP_CHECK {\nconnect_timeout 9\n}', 'lb_algo rr\ndelay_loop 2')).toMatchObject({
      interval: '9s',
      timeout: '9s',
    })
  })

  test.each([
    ['a digest', 'HTTP_GET {\nurl {\npath /\ndigest 9b3a0c85a887a256d6939da88aabd8cd\n}\n}'],
    ['a regular expression', 'HTTP_GET {\nurl {\npath /\nregex a.*b\n}\n}'],
    ['a second URL', 'HTTP_GET {\nurl {\npath /\n}\nurl {\npath /b\n}\n}'],
    ['a second checker', 'TCP_CHECK {\n}\nTCP_CHECK {\nconnect_port 81\n}'],
    ['another address', 'TCP_CHECK {\nconnect_ip 10.0.0.9\n}'],
    ['SMTP', 'SMTP_CHECK {\n}'],
    ['ping', 'PING_CHECK {\n}'],
    ['BFD', 'BFD_CHECK {\nname x\n}'],
    ['DNS without a name', 'DNS_CHECK {\nname\n}'],
    ['DNS with a label that is too long', `DNS_CHECK {\nname ${'a'.repeat(64)}.example\n}`],
    ['UDP with a payload that is too long', `UDP_CHECK {\npayload ${'00'.repeat(1025)}\nrequire_reply 00\n}`],
    ['UDP with a payload of other characters', 'UDP_CHECK {\npayload xyz\nrequire_reply 00\n}'],
    ['a text that is too long', `HTTP_GET {\nurl {\npath /\nregex ${'a'.repeat(1025)}\n}\n}`],
    ['UDP without an answer', 'UDP_CHECK {\n}'],
    ['UDP with digits that count as any', 'UDP_CHECK {\nrequire_reply XX00\n}'],
    ['weights from a command', 'MISC_CHECK {\nmisc_path /bin/x\nmisc_dynamic\n}'],
    ['a command without a path', 'MISC_CHECK {\nmisc_path check\n}'],
    ['an unknown keyword', 'TCP_CHECK {\nfrobnicate\n}'],
  ])('%s is refused', (_, checker) => {
    expect(refusal(virtual('lb_algo rr', checker))).toBe('to accept that: --ignore checks')
    const ignoring = importText('keepalived', virtual('lb_algo rr', checker), { ignore: ['checks'] })
    expect([ignoring.refusal, fields(ignoring).length]).toEqual([undefined, 1])
  })

  test('a quorum of equal weights is a number of backends', () => {
    const pair = (weight: number) =>
      virtual(`lb_algo wrr\nquorum 4\nsorry_server 10.0.0.9 80`, `weight ${weight}\nTCP_CHECK {\n}`).replace(
        'real_server 10.0.0.2 80 {',
        'real_server 10.0.0.2 80 {\nweight 3',
      )
    expect(only(pair(3))).toMatchObject({ min_healthy: 2, fallback: 'sorry', sorry: { address: '10.0.0.9' } })
    expect(refusal(pair(2))).toBe('to accept that: --ignore checks')
  })

  test('without a sorry server, flows of a service without healthy backends are refused, as by IPVS', () => {
    const checked = only(virtual('lb_algo rr\nquorum 2', 'TCP_CHECK {\n}'))
    for (const one of [checked, only(virtual('lb_algo rr'))]) {
      expect(one).toHaveProperty('on_empty', 'reject')
      expect(one).not.toHaveProperty('fallback')
      expect(one).not.toHaveProperty('min_healthy')
    }
  })

  test('a sorry server on this host is the port of the VIP', () => {
    expect(only(virtual('lb_algo rr\nsorry_server 127.0.0.1 80', 'TCP_CHECK {\n}'))).toMatchObject({
      fallback: 'drop',
      on_empty: 'pass',
    })
    expect(refusal(virtual('lb_algo rr\nsorry_server 127.0.0.1 81', 'TCP_CHECK {\n}'))).toBe(
      'to accept that: --ignore services',
    )
  })

  test('a sorry server that no check calls is left out', () => {
    expect(only(virtual('lb_algo rr\nsorry_server 10.0.0.9 80'))).not.toHaveProperty('sorry')
  })
})

test('settings without an effect on packets are listed with their lines', () => {
  const text = virtual(
    'lb_algo rr\nquorum_down /bin/x\nalpha\nhysteresis 1\nsnmp_name x',
    'inhibit_on_failure\nnotify_up /bin/y',
  )
  expect(codes(text)).toEqual(['W400:3', 'W242:4', 'W242:5', 'W242:8', 'W400:9'])
  expect(importText('keepalived', text).refusal).toBeUndefined()
})

describe('text', () => {
  test('comments, quotes, escapes and braces', () => {
    const text = `! one\n# two\nvirtual_server 192.0.2.10 80{ # three\n  lb_algo "r"'r' ! four\n  real_server 10.0.0.1 80\n  {\n    MISC_CHECK {\n misc_path "/bin/a \\"b\\" '#c'"\n }\n  }\n}\n`
    expect(only(text)).toMatchObject({ backends: ['10.0.0.1'], health: { command: ['/bin/a', '"b"', '#c'] } })
  })

  test('definitions are replaced where they are used, also within each other', () => {
    const text = `$NET=10.\${A}\n$A=1.2\n$EMPTY=\nvirtual_server 192.0.2.1 80 {\nlb_algo rr\n$EMPTY\nreal_server \${NET}.3 80 {\n}\n$A=3.4\nreal_server \${NET}.3 80 {\n}\nreal_server 10.9.9.9 80 { # $UNKNOWN\n}\n}`
    expect(only(text).backends).toEqual(['10.1.2.3', '10.3.4.3', '10.9.9.9'])
  })

  test.each([
    ['a block without an end', 'virtual_server 192.0.2.1 80 {\nlb_algo rr\n', 'E400', 1],
    ['a brace without a block', 'virtual_server 192.0.2.1 80 {\n}\n}\n', 'E400', 3],
    ['a brace without a keyword', '{\n}\n', 'E400', 1],
    ['an open quote', 'virtual_server 192.0.2.1 80 {\nvirtualhost "a\n}', 'E400', 2],
    ['another text', 'frontend web\n  bind :80\n', 'E400', 1],
    ['nothing', '', 'E400', 1],
    ['a sequence', 'virtual_server_group a {\n~SEQ(A, 1, 4) 10.0.0.$A 80\n}', 'E411', 2],
    ['a definition of several lines', '$VS= \\\nvirtual_server 192.0.2.1 80 {\n', 'E411', 1],
    ['a definition of itself', `$A=\${A}x\nvirtual_server \${A} 80 {\n}`, 'E411', 2],
    ['a file that is not there', 'include other.conf\n', 'E411', 1],
  ])('%s is an error with its line', (_, text, code, line) => {
    expect(() => importText('keepalived', text)).toThrow(
      expect.objectContaining({
        diagnostics: [expect.objectContaining({ code, at: expect.objectContaining({ line }) })],
      }),
    )
  })

  test('included files stand for their line, and keep their own lines', () => {
    const files: Readonly<Record<string, string>> = {
      'conf.d/*.conf': virtual('lb_algo lblc'),
      servers: 'real_server 10.0.0.1 80 {\n}\n',
    }
    const input = (text: string) => ({
      name: '/etc/keepalived.conf',
      bytes: Buffer.from(text),
      interfaces: [],
      include: (pattern: string) =>
        pattern === 'empty/*'
          ? []
          : files[pattern] === undefined
            ? undefined
            : [{ name: `/etc/${pattern}`, bytes: Buffer.from(files[pattern]) }],
    })
    const imported = importFrom(
      'keepalived',
      input(
        'include conf.d/*.conf\nincludea empty/*\nvirtual_server 192.0.2.9 80 {\nlb_algo rr\nprotocol TCP\ninclude servers\n}\n',
      ),
    )
    expect(imported.leftOut.map(({ at }) => `${at?.file}:${at?.line}`)).toEqual(['/etc/conf.d/*.conf:1'])
    expect(fields(imported)).toMatchObject([{ vip: '192.0.2.9', backends: ['10.0.0.1'] }])
    const cycle = { ...input('include a'), include: () => [{ name: 'a', bytes: Buffer.from('include a') }] }
    expect(() => importFrom('keepalived', cycle)).toThrow(
      expect.objectContaining({ message: expect.stringContaining('E411') }),
    )
  })

  test('members of a group: addresses, ranges and prefixes of both families', () => {
    const group = (members: string) =>
      `virtual_server_group g {\n${members}\n}\n${virtual('lb_algo rr\nlb_kind TUN', '', 'group g')}`
    const vips = (members: string) =>
      fields(importText('keepalived', group(members))).map(({ vip, port }) => `${vip} ${port}`)
    expect(vips('192.0.2.8/30 80\n2001:db8::fe-ff 81\n192.0.2.255-192.0.3.0 82')).toEqual([
      ...['192.0.2.8 80', '192.0.2.9 80', '192.0.2.10 80', '192.0.2.11 80'],
      ...['2001:db8::fe 81', '2001:db8::ff 81', '192.0.2.255 82', '192.0.3.0 82'],
    ])
    for (const member of ['fwmark 1', '10.0.0.0/8 80', '192.0.2.9-1 80', 'example.com 80'])
      expect(refusal(group(member))).toBe('to accept that: --ignore services')
  })
})
