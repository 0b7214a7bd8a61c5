// Both formats of ipvsadm → services.

import { describe, expect, test } from 'vitest'
import { captured, composeAll, importText, load } from '../../support/import.ts'

/** The table of captured/ipvsadm-save.txt as `ipvsadm -L -n` prints it, which does not name the encapsulation. */
const LISTED = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.10:80 wrr
  -> 10.0.1.1:8080                Masq    3      12         340
  -> 10.0.1.2:8080                Masq    1      0          0
TCP  [2001:db8::25]:25 sh (sh-port) persistent 300 mask 128
  -> [2001:db8:4::1]:25           Tunnel  1      0          0
UDP  192.0.2.10:53 rr ops
  -> 10.0.3.1:53                  Route   1      0          0
`

const services = (text: string) => importText('ipvsadm', text).services?.map(({ fields }) => fields)
const refusal = (text: string) => importText('ipvsadm', text).refusal?.hint

test('the saved table becomes services that load', async () => {
  const imported = importText('ipvsadm', captured('ipvsadm-save.txt'))
  expect(imported.refusal).toBeUndefined()
  expect(imported.services?.map(({ fields }) => fields)).toEqual([
    {
      ...{ vip: '192.0.2.10', port: 80, protocol: 'tcp', forwarding: 'nat', on_empty: 'reject' },
      backends: [
        { address: '10.0.1.1', port: 8080, weight: 3 },
        { address: '10.0.1.2', port: 8080 },
      ],
    },
    {
      ...{ vip: '192.0.2.10', port: 53, protocol: 'udp', forwarding: 'dsr', scheduler: 'random', udp_timeout: '5m' },
      on_empty: 'reject',
      backends: ['10.0.3.1'],
    },
    {
      ...{ vip: '2001:db8::25', port: 25, protocol: 'tcp', forwarding: 'gue', gue_port: 6080, hash: 'source' },
      on_empty: 'reject',
      backends: ['2001:db8:4::1'],
    },
  ])
  expect((await load(composeAll(imported, 'ipvsadm'))).warnings).toEqual([])
})

test('the listed table gives the same services, with ipip for every tunnel', () => {
  const [web, names, mail] = services(captured('ipvsadm-save.txt')) ?? []
  const { gue_port: _, ...plain } = { ...mail, forwarding: 'ipip' } as Record<string, unknown>
  expect(services(LISTED)).toEqual([web, plain, names])
  expect(importText('ipvsadm', LISTED).leftOut.map(({ code, at }) => `${code}:${at?.line}`)).toEqual([
    'W242:7',
    'W242:8',
    'W242:9',
  ])
})

test('long options, commands in front, comments and defaults of a file by hand', () => {
  const text = `# rules
ipvsadm -C
ipvsadm --add-service --tcp-service 192.0.2.1:80
ipvsadm --add-server --tcp-service 192.0.2.1:80 --real-server=10.0.0.1 --weight=2 --masquerading
-a -t 192.0.2.1:80 -r 10.0.0.2
`
  expect(refusal(text)).toBe('to accept that: --ignore services') // -m beside -g, the default
  expect(services(text.replace('-r 10.0.0.2', '-r 10.0.0.2 -m'))).toMatchObject([
    { forwarding: 'nat', backends: [{ address: '10.0.0.1', weight: 2 }, '10.0.0.2'] },
  ])
})

describe('refused', () => {
  const server = '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1'
  test.each([
    ['a firewall mark', '-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1:0 -m -w 1', 'services'],
    ['a firewall mark for IPv6', '-A -f 1 -6 -s rr\n-a -f 1 -6 -r [2001:db8::1]:0 -m -w 1', 'services'],
    ['SCTP', '-A --sctp-service 192.0.2.1:80 -s rr\n-a --sctp-service 192.0.2.1:80 -r 10.0.0.1:80 -m', 'services'],
    ['destination hashing', `-A -t 192.0.2.1:80 -s dh\n${server}`, 'services'],
    ['a GRE tunnel', '-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i --tun-type gre', 'services'],
    ['a SIP engine', `-A -t 192.0.2.1:80 -s rr -p 300 --pe sip\n${server}`, 'services'],
    ['networks of clients', `-A -t 192.0.2.1:80 -s rr -p 300 -M 255.255.255.0\n${server}`, 'persistence'],
    ['a limit of connections', `-A -t 192.0.2.1:80 -s rr\n${server} -x 100 -y 10`, 'thresholds'],
  ])('%s', (_, text, flag) => {
    expect(refusal(text)).toBe(`to accept that: --ignore ${flag}`)
  })

  test('a server that is this host', () => {
    expect(refusal(LISTED.replace('Masq   ', 'Local  '))).toBe('to accept that: --ignore services')
  })
})

test.each([
  ['names instead of numbers', '-A -t web.example:http -s rr', 1],
  ['a server of an unknown service', '-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m', 1],
  ['another command', '-A -t 192.0.2.1:80 -s rr\n-D -t 192.0.2.1:80', 2],
  ['an unknown option', '-A -t 192.0.2.1:80 --frobnicate', 1],
  ['another table', `${LISTED}Total conns: 7\n`, 11],
  ['statistics', LISTED.replace('ActiveConn InActConn', 'Conns'), 3],
  ['a server before any service', 'IP Virtual Server version 1.2.1 (size=4096)\n  -> 10.0.1.1:80  Masq 1 0 0', 2],
])('%s: an error with its line', (_, text, line) => {
  expect(() => importText('ipvsadm', text)).toThrow(
    expect.objectContaining({
      diagnostics: [expect.objectContaining({ code: 'E400', at: expect.objectContaining({ line }) })],
    }),
  )
})

test('weights beyond those of a backend keep their proportions', () => {
  const text =
    '-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 300000\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 100000'
  expect(services(text)).toMatchObject([{ backends: [{ weight: 65535 }, { weight: 21845 }] }])
})
