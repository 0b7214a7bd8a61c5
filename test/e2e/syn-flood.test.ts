// A flood of forged SYNs at full rate against a server, while real clients connect.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { inTurns, usually } from '../support/depth.ts'
import { HOST, PORT, protectedBy, SynFlood } from '../support/syn-flood.ts'

const CLIENTS = usually(300, { thoroughly: 1000 })

let flooded: SynFlood
beforeAll(async () => {
  flooded = new SynFlood()
  await flooded.open()
})
afterAll(() => flooded?.close())

const status = async () => JSON.parse(await flooded.lab.ok('status', '--json')).syn_protection

inTurns('doctor reads the settings of this host', async () => {
  flooded.lab.write('xdp.yaml', protectedBy('always', 500))
  const found = async (cookies: number, timestamps: number) => {
    flooded.set(cookies, timestamps)
    const { stdout } = await flooded.lab.xdp('doctor', '--json')
    const { checks } = JSON.parse(stdout) as { checks: { id: string; level: string }[] }
    const isAsked = (id: string): boolean => ['syn_protection.cookies', 'syn_protection.options'].includes(id)
    return checks.flatMap(({ id, level }) => (isAsked(id) ? [`${id} ${level}`] : []))
  }
  expect(await found(1, 1)).toEqual(['syn_protection.cookies warn', 'syn_protection.options warn'])
  expect(await found(2, 2)).toEqual(['syn_protection.cookies ok', 'syn_protection.options ok'])
})

test(`connects ${CLIENTS} clients under a flood of forged SYNs, which begins and counts by itself`, async () => {
  const { lab } = flooded
  lab.write('xdp.yaml', protectedBy('auto', 500))
  await lab.ok('apply', '--auto-approve')
  expect(await status()).toMatchObject({ mode: 'auto', threshold: 500, answering: false, floods: 0 })
  await flooded.flood()
  try {
    await expect.poll(async () => (await status()).answering).toBe(true)
    const good = await flooded.connect(CLIENTS)
    const found = await status()
    expect(good / CLIENTS).toBeGreaterThanOrEqual(0.999)
    expect(found.floods).toBe(1)
    expect(found.completed).toBeGreaterThanOrEqual(CLIENTS)
    expect(found.answered).toBeGreaterThan(10_000)
  } finally {
    await flooded.calm()
  }
  // The rest of the policy still decides first, and a plan shows the setting.
  const to = ['--protocol', 'tcp', '--destination', HOST, '--destination-port', `${PORT}`]
  expect(JSON.parse(await lab.ok('stats', '--json'))).toMatchObject({ drift: false, drifted: [] })
  const why = await lab.ok('why', '203.0.113.9', ...to, '--json')
  expect(JSON.parse(why)).toMatchObject({ live: { verdict: 'tx', reason: 'syn-answered', proven: true } })
})

inTurns('connection tracking takes up connections by cookie, unless nf_conntrack_tcp_loose is 0', async () => {
  const { lab } = flooded
  lab.write('xdp.yaml', protectedBy('always', 500))
  await lab.ok('apply', '--auto-approve')
  const rules = 'table inet f { chain i { type filter hook input priority 0; ct state invalid drop; }; }'
  lab.in(lab.host, 'nft', '-f', lab.write('rules.nft', rules))
  const set = (loose: number) => lab.in(lab.host, 'sysctl', '-qw', `net.netfilter.nf_conntrack_tcp_loose=${loose}`)
  try {
    set(1)
    expect(await flooded.connect(4, 4)).toBe(4)
    set(0)
    // A port that one of the clients before has used may be in TIME-WAIT: the kernel answers its SYN, and tracks it.
    expect(await flooded.connect(4, 4, 1500)).toBeLessThan(4)
  } finally {
    set(1)
    lab.in(lab.host, 'nft', 'flush', 'ruleset')
  }
})
