// Steady traffic while the policy changes: every version of the policy passes one source and blocks another. The first
// must lose no packet, and no packet of the second may pass.

import { appendFileSync, cpSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inDepth, usually } from '../support/depth.ts'
import { CLI, ETH0, ETH1, Lab } from '../support/hosts.ts'
import { judged } from '../support/traffic.ts'

const EDITS = usually(6, { thoroughly: 100 })

let lab: Lab

/** IPv4 from the peer passes and its IPv6 is blocked in every edition; the rest changes. */
const edition = (number: number): string => `version: 1
interfaces: { eth0: {}, eth1: {} }
policy: { default: ${number % 3 === 0 ? 'drop' : 'pass'} }
allowlist:
  - 192.0.2.0/24
blocklist:
  - 2001:db8::2
  - ${number % 2 === 0 ? '192.0.2.0/25' : '198.51.100.77'}
  - 203.0.113.${number}
  - { name: moving, cidr: 2001:db8:${number.toString(16)}::/48 }
`

beforeAll(async () => {
  lab = new Lab([ETH0, ETH1])
  lab.write('xdp.yaml', edition(0))
  await lab.ok('apply', '--auto-approve')
})
afterAll(() => lab.close())

test(`${EDITS} edits of lists and default under traffic misjudge no packet`, { timeout: 600_000 }, async () => {
  await judged(lab, async () => {
    for (let number = 1; number <= EDITS; number++) {
      lab.write('xdp.yaml', edition(number))
      await lab.ok('apply', '--auto-approve')
    }
  })
  expect(JSON.parse(await lab.ok('status', '--json')).generation).toBe(EDITS + 1)
})

test('a new build of the program takes over under traffic, and counters continue', async () => {
  const other = join(lab.directory, 'other')
  cpSync(dirname(CLI), other, { recursive: true })
  appendFileSync(join(other, 'bpf/xdp.bpf.o'), 'another build')
  const status = async () => JSON.parse(await lab.ok('status', '--json'))
  await lab.ok('ban', '203.0.113.250', '--ttl', '1h', '--reason', 'a test')
  const before = await status()
  lab.cli = join(other, 'xdp.js')
  await judged(lab, async () => {
    const plan = JSON.parse(await lab.ok('plan', '--json'))
    expect(plan.changes).toMatchObject([
      { op: 'update', kind: 'program', impact: 'hitless', reason: 'program-changed' },
    ])
    await lab.ok('apply', '--auto-approve')
  })
  const after = await status()
  expect(after.bans).toBe(1)
  const { live } = JSON.parse(await lab.ok('why', '203.0.113.250', '--json'))
  expect(live).toMatchObject({ verdict: 'drop', reason: 'ban', proven: true, ban: { reason: 'a test' } })
  expect(after.program.digest).not.toBe(before.program.digest)
  expect(after.interfaces[0].packets.drop).toBeGreaterThan(before.interfaces[0].packets.drop)
  expect(after.lists.find(({ name }: { name: string }) => name === 'blocklist').packets).toBeGreaterThan(
    before.lists.find(({ name }: { name: string }) => name === 'blocklist').packets,
  )
  lab.cli = CLI
})

/** A million addresses that differ per edition; each has the peer's IPv6 address and neighbours of its IPv4 address. */
function million(edition: number): string {
  const lines = ['192.0.2.0', '192.0.2.3', '2001:db8::2']
  // Odd steps through 2^32 repeat no address; addresses in 192.0.2.0/24 are left out.
  for (let i = 0; i < 1_000_000; i++) {
    const address = Math.imul(i * 2 + edition, 0x9e3779b1) >>> 0
    if (address >>> 8 !== 0xc00002) {
      lines.push(`${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`)
    }
  }
  return `${lines.join('\n')}\n`
}

inDepth('replaces a list of a million under traffic, then edits it', { timeout: 600_000 }, async () => {
  const list = '{ name: million, file: million.txt, exclude_private: false }'
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {}, eth1: {} }\nblocklist: [${list}]\n`)
  lab.write('million.txt', million(0))
  await lab.ok('apply', '--auto-approve')
  const next = million(1)
  const prefixes = async (): Promise<unknown> => JSON.parse(await lab.ok('status', '--json')).lists[0].prefixes
  await judged(lab, async () => {
    lab.write('million.txt', next)
    await lab.ok('apply', '--auto-approve')
    lab.write('million.txt', `${next}203.0.113.77\n`)
    // The header, the record of the list, a bucket and a line of the filter, of 200,000 lines.
    const [, lines] = /table_write .* # (\d+) lines in/.exec(await lab.ok('plan', '--commands')) ?? []
    expect(Number(lines)).toBeLessThanOrEqual(12)
    await lab.ok('apply', '--auto-approve')
  })
  expect(await prefixes()).toBeGreaterThan(990_000)
  expect(await lab.ok('why', '203.0.113.77')).toContain('blocklist million: 203.0.113.77')
})
