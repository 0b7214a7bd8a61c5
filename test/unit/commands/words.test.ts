// Parsers of the command line: durations, targets, the packet of `why`, colour.
import { describe, expect, test } from 'vitest'
import { wantsColor } from '../../../src/commands/cli/color.ts'
import { parseDuration } from '../../../src/commands/cli/duration.ts'
import { parseArguments } from '../../../src/commands/cli/parse.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { onlyTargets } from '../../../src/commands/verbs/targets.ts'
import { readQuery } from '../../../src/commands/verbs/why.ts'
import { plan } from '../../../src/plan/plan.ts'
import { ANY, desired, link, list, live, PROGRAM, rateLimit, scoped, state } from '../../support/states.ts'

describe('durations', () => {
  test.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['2m', 120_000],
    ['0s', 0],
    ['1h', 3_600_000],
  ])('%s is %i ms', (text, milliseconds) => {
    expect(parseDuration('lock-timeout', text)).toBe(milliseconds)
  })

  test.each(['30', 's', '', '-1s', '1.5s', '30 s', '3000000s', '1d'])('"%s" is not a duration', (text) => {
    expect(() => parseDuration('lock-timeout', text)).toThrow('E300')
  })
})

describe('targets', () => {
  const wanted = state({
    policy: 'pass',
    interfaces: { eth0: ['native'] },
    lists: [
      list('blocklist', 'spamhaus', scoped(ANY, '192.0.2.1')),
      list('allowlist', 'office', scoped(ANY, '10.0.0.0/8')),
    ],
    rateLimits: [rateLimit('dns')],
  })
  const now = live({ links: [link('eth0')] })
  const whole = plan(desired(wanted), now, PROGRAM)
  const keys = (...targets: readonly string[]) => onlyTargets(whole, targets, wanted, now).changes.map(({ key }) => key)

  test('keep the whole plan if there are none', () => {
    expect(keys()).toHaveLength(6)
  })

  test("keep the named objects, in the plan's order", () => {
    expect(keys('interface:eth0', 'program', 'blocklist:spamhaus')).toEqual([
      'program',
      'list:spamhaus',
      'interface:eth0',
    ])
    expect(keys('policy')).toEqual(['policy'])
    expect(keys('allowlist:office')).toEqual(['list:office'])
    expect(keys('rate_limit:dns')).toEqual(['rate_limit:dns'])
  })

  test.each([
    ['blocklst:spamhaus', 'did you mean blocklist?'],
    ['thing', 'kinds are interface, blocklist, allowlist, rate_limit, service, policy, program'],
    ['blocklist:spamhause', 'did you mean blocklist:spamhaus?'],
    ['allowlist:spamhaus', 'names are office'],
    ['rate_limt:dns', 'did you mean rate_limit?'],
    ['rate_limit:spamhaus', 'names are dns'],
    ['interface', 'write --target interface:NAME'],
    ['policy:x', 'write --target policy'],
  ])('%s is answered with "%s"', (target, hint) => {
    expect(() => keys(target)).toThrow(
      expect.objectContaining({ diagnostics: [expect.objectContaining({ code: 'E300', hint })] }),
    )
  })
})

describe('the packet of why', () => {
  const query = (...argv: readonly string[]) =>
    readQuery(parseArguments(['why', ...argv], COMMANDS).args as Parameters<typeof readQuery>[0])

  test('is parsed from the flags', () => {
    const packet = query(
      '203.0.113.9',
      '--protocol',
      'UDP',
      '--source-port',
      '53',
      '--destination',
      '192.0.2.1',
      '--interface',
      'eth0',
    )
    expect(packet).toMatchObject({ protocol: 17, sourcePort: 53, destinationPort: undefined, interface: 'eth0' })
    expect(packet.source).toEqual({ family: 4, words: Uint32Array.of(0xcb007109) })
    expect(query('2001:db8::1').source.family).toBe(6)
    expect(query('2001:db8::1', '--protocol', 'icmp').protocol).toBe('icmp')
    expect(query('192.0.2.1', '--protocol', '47').protocol).toBe(47)
  })

  test.each([
    [['eth0'], 'is not an address'],
    [['10.0.0.0/8'], 'is not an address'],
    [['192.0.2.1', '--source-port', '53'], 'ports need protocol tcp or udp, not any'],
    [['192.0.2.1', '--protocol', 'icmp', '--destination-port', '53'], 'ports need protocol tcp or udp, not icmp'],
    [['192.0.2.1', '--protocol', 'udp', '--source-port', '65536'], 'is not a number from 0 to 65535'],
    [['192.0.2.1', '--protocol', 'quic'], 'is not a protocol'],
    [['192.0.2.1', '--protocol', '256'], 'is not a protocol'],
    [['192.0.2.1', '--destination', '2001:db8::1'], 'ADDRESS is IPv4, but --destination is IPv6'],
  ])('%j is rejected', (argv, message) => {
    expect(() => query(...argv)).toThrow(message)
  })
})

describe('colour', () => {
  const flags = (off = false) => ({ 'no-color': off })
  test.each([
    ['a terminal', {}, true, false, true],
    ['a pipe', {}, false, false, false],
    ['--no-color', { FORCE_COLOR: '1' }, true, true, false],
    ['NO_COLOR', { NO_COLOR: '1', FORCE_COLOR: '1' }, true, false, false],
    ['an empty NO_COLOR', { NO_COLOR: '' }, true, false, true],
    ['FORCE_COLOR on a pipe', { FORCE_COLOR: '1' }, false, false, true],
    ['FORCE_COLOR=0 on a terminal', { FORCE_COLOR: '0' }, true, false, false],
    ['a dumb terminal', { TERM: 'dumb' }, true, false, false],
  ])('with %s', (_, env, isTTY, off, expected) => {
    expect(wantsColor(flags(off), env, isTTY)).toBe(expected)
  })
})
