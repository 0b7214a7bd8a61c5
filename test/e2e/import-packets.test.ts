// Rules of other filters judged by packets: netfilter with the rules, then XDP with their import. XDP drops no packet
// that the rules let through; what only XDP lets through is a loss that the import reports.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sample } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { delivered, fieldMatrix, matrix } from '../support/source-packets.ts'

const CAPTURED = join(import.meta.dirname, '../unit/import/captured')
const text = (name: string): string => readFileSync(join(CAPTURED, name), 'utf8')

interface Fixture {
  readonly from: 'iptables' | 'nft'
  /** Output of iptables-save, ip6tables-save and ipset save, or rules for nft. */
  readonly files: readonly string[]
  readonly ignore?: readonly string[]
  /** Whether the rules match header fields and rates. */
  readonly fields?: boolean
  /** Whether the import lets packets through that the rules drop. */
  readonly wider: boolean
}

const IGNORE = ['forwarding', 'fragments']

/** Packages and versions: Debian 12. */
const FIXTURES: Readonly<Record<string, Fixture>> = {
  'a return by address type': { from: 'iptables', files: ['notlocal-iptables-save.txt'], wider: false },
  'goto, return and a set with ports': {
    from: 'iptables',
    files: ['goto-ipset-save.txt', 'goto-iptables-save.txt'],
    wider: true,
  },
  fail2ban: { from: 'iptables', files: ['fail2ban-iptables-save.txt', 'fail2ban-ip6tables-save.txt'], wider: false },
  CrowdSec: { from: 'nft', files: ['crowdsec.nft'], wider: false },
  'verdict maps and concatenations of nft': { from: 'nft', files: ['verdicts.nft'], wider: true },
  'ufw without its forwarding': {
    from: 'iptables',
    files: ['ufw-iptables-save.txt', 'ufw-ip6tables-save.txt'],
    ignore: IGNORE,
    wider: false,
  },
  'firewalld without its forwarding': {
    from: 'nft',
    files: ['firewalld-nft.txt'],
    ignore: IGNORE,
    wider: true,
  },
  'a script against floods': { from: 'iptables', files: ['antiddos-iptables-save.txt'], fields: true, wider: true },
  'meters and synproxy of nft': { from: 'nft', files: ['meters.nft'], fields: true, wider: true },
  'a server that drops by default': { from: 'nft', files: ['server.nft'], wider: true },
  'the workstation of nftables': { from: 'nft', files: ['workstation.nft'], wider: true },
  'the workstation of nftables without its state': {
    from: 'nft',
    files: ['workstation.nft'],
    ignore: ['state'],
    wider: false,
  },
}

let lab: Lab
/** Why these tests cannot run here. */
let missing: string | undefined

function loadAll(files: readonly string[]): void {
  const { host } = lab
  lab.in(host, 'nft', 'flush', 'ruleset')
  for (const name of files) {
    const path = join(CAPTURED, name)
    if (name.includes('ipset')) lab.in(host, 'ipset', 'restore', '-exist', '-file', path)
    else if (name.includes('ip6tables')) lab.in(host, 'ip6tables-restore', path)
    else if (name.includes('iptables')) lab.in(host, 'iptables-restore', path)
    else lab.in(host, 'nft', ...(text(name).startsWith('{') ? ['-j'] : []), '-f', path)
  }
}

const wait = async (ready: () => boolean): Promise<void> => expect.poll(ready).toBe(true)

// One host per test, because a tracked connection of one test would be known to the rules of the next.
beforeEach(() => {
  lab = new Lab()
  try {
    for (const tool of ['nft', 'perl', 'taskset', 'ipset', 'iptables-restore', 'ip6tables-restore'])
      lab.in(lab.host, tool, '--version')
    lab.in(lab.host, 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth0.rp_filter=0')
    for (const { files } of Object.values(FIXTURES)) loadAll(files)
  } catch (error) {
    missing = `the rules cannot be loaded: ${(error as Error).message.split('\n').slice(0, 2).join(' ')}`
  }
})
afterEach(() => lab.close())

test.for(sample(Object.entries(FIXTURES), 2))(
  '%s: the import drops nothing that the rules let through',
  async ([name, fixture], context) => {
    const { from, files, ignore = [], fields = false, wider } = fixture
    if (missing !== undefined) return context.skip(missing)
    const sent = [...matrix(!ignore.includes('fragments')), ...(fields ? fieldMatrix() : [])]
    loadAll(files)
    const flags = ignore.flatMap((what) => ['--ignore', what])
    const argv = ['import', '--from', from, '--interface', 'eth0', '--output', name.replaceAll(' ', '-'), '--json']
    const report = JSON.parse(await lab.ok(...argv, ...flags))
    const byRules = await delivered(lab, sent, wait)

    lab.in(lab.host, 'nft', 'flush', 'ruleset')
    await lab.ok('apply', '-f', report.config, '--auto-approve')
    const byXdp = await delivered(lab, sent, wait)
    await lab.ok('destroy', '--auto-approve')

    const names = sent.map((one) => one.name)
    if (fields) {
      const dropped = fieldMatrix().filter(({ name }) => !byXdp.has(name))
      // By flags, by length and by rate: SYN and FIN, none, SYN and RST, the large ping, and all beyond the burst.
      expect(dropped.length).toBeGreaterThanOrEqual(4 + 5)
    }
    // The rules decide about some packets of the matrix, or the test would show nothing.
    expect(names.filter((one) => !byRules.has(one))).not.toEqual([])
    expect(names.filter((one) => !byXdp.has(one))).not.toEqual([])
    expect([...byRules].filter((one) => !byXdp.has(one))).toEqual([])
    const more = [...byXdp].filter((one) => !byRules.has(one))
    expect({ wider: more.length > 0, more }).toEqual({ wider, more: wider ? expect.anything() : [] })
    if (more.length > 0) expect(report.left_out).not.toEqual([])
  },
)

test.for([
  ['ufw', 'iptables', ['ufw-iptables-save.txt', 'ufw-ip6tables-save.txt'], 4, 'E406'],
  ['firewalld', 'nft', ['firewalld-nft.txt'], 4, 'E406'],
  ['Docker with a default drop', 'iptables', ['docker-iptables-save.txt'], 4, 'E406'],
] as const)(
  '%s: an import that would drop what the rules may let through is refused',
  async ([name, from, files, status, code], context) => {
    if (missing !== undefined) return context.skip(missing)
    loadAll(files)
    if (name.startsWith('Docker')) lab.in(lab.host, 'iptables', '-A', 'INPUT', '-s', '203.0.113.7', '-j', 'DROP')
    const { exitCode, stdout } = await lab.xdp('import', '--from', from, '--interface', 'eth0', '--json')
    expect({ exitCode, code: JSON.parse(stdout).error?.code }).toEqual({ exitCode: status, code })
  },
)
