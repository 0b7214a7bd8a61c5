// Backends whose MAC address changes: without any announcement, with one, and when they are gone. The daemon follows without
// building another policy, so nothing is loaded into the kernel.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BalanceLab, vipOf } from '../support/balance.ts'
import { inDepth } from '../support/depth.ts'
import { Watching } from '../support/watching.ts'

const VIPS = { 4: vipOf(10), 6: vipOf(10, 6) } as const
type Family = keyof typeof VIPS

let lab: BalanceLab
let daemon: Watching

const config = (): string => `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {} }
watch: { resync: 24h }
services:
  web4: { vip: ${VIPS[4]}, port: 80, protocol: tcp, forwarding: nat, backends: [${lab.address(1, 2)}] }
  web6: { vip: "${VIPS[6]}", port: 80, protocol: tcp, forwarding: nat, backends: ["${lab.address(1, 2, 6)}"] }
  other: { vip: ${vipOf(11)}, port: 80, protocol: tcp, forwarding: nat, backends: [${lab.address(2)}] }
`

const status = async () => JSON.parse(await lab.ok('status', '--json'))
/** Ids of the loaded programs: another generation would have others. */
const programs = async (): Promise<number[]> =>
  (await status()).interfaces.map(({ program_id }: { program_id: number }) => program_id)
const hopOf = async (name: string): Promise<string | null> => {
  const { services } = await status()
  const found = services.find((one: { name: string }) => one.name === name)
  return found.backends[0].next_hop?.mac ?? null
}
const entry = (family: Family): string =>
  lab.in(lab.host, 'ip', 'neigh', 'show', lab.address(1, 2, family), 'dev', 'eth1').trim()

/** Answers of the service in a second at most; undefined: none. */
const tryFetch = (family: Family): string | undefined => {
  const host = family === 6 ? `[${VIPS[6]}]` : VIPS[4]
  try {
    return lab.in(lab.peer, 'curl', '-sS', '-m', '0.2', `http://${host}/`).trim()
  } catch {
    return undefined
  }
}

const inBackend = (number: number, ...lines: readonly string[]): string =>
  lab.script(lab.backends[number - 1]?.netns as string, ...lines)

/** Lines after which a backend knows the balancer by fixed entries: it needs no request, which would reveal its MAC address. */
function fixedRoutes(number: number): string[] {
  const [device] = JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show', `eth${number}`))
  const gateways = [`10.0.${number}.1`, `2001:db8:${number}::1`]
  return gateways.map((gateway) => `ip neigh replace ${gateway} lladdr ${device.address} dev eth0 nud permanent`)
}

/** Gives a backend another MAC address. `announce`: whether it says so, by gratuitous ARP and an unsolicited advertisement. */
function move(number: number, mac: string, announce = false): void {
  const notify = ['ipv4.conf.eth0.arp_notify', 'ipv6.conf.eth0.ndisc_notify']
  inBackend(
    number,
    ...notify.map((name) => `sysctl -qw net.${name}=${announce ? 1 : 0}`),
    `ip link set eth0 address ${mac}`,
    // A change of the address removes all entries.
    ...fixedRoutes(number),
  )
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)

/** Sends requests until one is answered; prints how long that took, and how many there were. */
async function recovers(family: Family, how: string): Promise<number> {
  const began = performance.now()
  let failed = 0
  await expect
    .poll(
      () => {
        const answer = tryFetch(family)
        if (answer === undefined) failed++
        return answer
      },
      { interval: 20 },
    )
    .toBe('b1')
  print(`IPv${family}, ${how}: answered after ${Math.round(performance.now() - began)} ms, ${failed} requests failed`)
  return failed
}

beforeAll(async () => {
  lab = await BalanceLab.open(2)
  const silent = ['ipv4', 'ipv6'].flatMap((family) =>
    ['mcast_solicit', 'ucast_solicit'].map((name) => `sysctl -qw net.${family}.neigh.eth0.${name}=0`),
  )
  for (const number of [1, 2]) inBackend(number, ...silent, ...fixedRoutes(number))
  lab.write('xdp.yaml', config())
  daemon = await Watching.ready(lab, '--debounce', '20ms')
})
afterAll(async () => {
  await daemon?.end('SIGKILL')
  lab.close()
})

/** Waits until the daemon has applied this MAC address. */
async function follows(name: string, mac: string): Promise<void> {
  do await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === `service:${name}`))
  while ((await hopOf(name)) !== mac)
}
describe.each([4, 6] as const)('IPv%i', (family) => {
  const name = `web${family}`
  const once = family === 6 ? test : inDepth

  test('a backend that moves to another MAC address without announcing it is found by asking', async () => {
    await recovers(family, 'to begin with')
    const before = await programs()
    const mac = `02:00:5e:10:0${family}:01`
    move(1, mac)
    expect(entry(family)).not.toContain(mac)
    // Each request takes 0.2 s. Without questions the kernel keeps the entry for a minute or longer.
    expect(await recovers(family, 'not announced')).toBeLessThan(150)
    await follows(name, mac)
    expect(await programs()).toEqual(before)
  })

  test('an announced move is followed without traffic that could reveal it', async () => {
    const before = await programs()
    const mac = `02:00:5e:10:0${family}:02`
    move(1, mac, true)
    const began = performance.now()
    await follows(name, mac)
    print(`IPv${family}, announced: followed after ${Math.round(performance.now() - began)} ms`)
    expect(await programs()).toEqual(before)
    expect(await recovers(family, 'announced')).toBe(0)
  })

  once('a backend that is gone gets no traffic, and gets it again when it is back', async () => {
    const before = await programs()
    const own = `${lab.address(1, 2, family)}/${family === 4 ? 24 : 64} dev eth0`
    inBackend(1, `ip addr del ${own}`)
    const began = performance.now()
    // Only packets make the daemon ask.
    const askedHop = (): Promise<string | null> => {
      tryFetch(family)
      return hopOf(name)
    }
    await expect.poll(askedHop).toBeNull()
    print(`IPv${family}, gone: noticed after ${Math.round(performance.now() - began)} ms`)
    inBackend(1, `ip addr add ${own}${family === 6 ? ' nodad' : ''}`)
    await recovers(family, 'back')
    expect(await programs()).toEqual(before)
  })

  once('a backend that the kernel has forgotten is found', async () => {
    const mac = `02:00:5e:10:0${family}:03`
    move(1, mac)
    lab.script(lab.host, `ip neigh del ${lab.address(1, 2, family)} dev eth1`)
    await recovers(family, 'forgotten')
    await expect.poll(() => hopOf(name)).toBe(mac)
  })
})

test('entries of an administrator are not asked', async () => {
  const { netns } = lab.backends[0] as { netns: string }
  const [own] = JSON.parse(lab.in(netns, 'ip', '-j', 'link', 'show', 'eth0'))
  lab.script(lab.host, `ip neigh replace ${lab.address(1, 2)} lladdr ${own.address} dev eth1 nud permanent`)
  // When this one is found, the round that asked it would have asked the other one too.
  move(2, '02:00:5e:10:02:01')
  const other = (): string => lab.in(lab.peer, 'sh', '-c', `curl -sS -m 0.2 http://${vipOf(11)}/ || true`).trim()
  const both = (): (string | undefined)[] => {
    const answers = [tryFetch(4), other()]
    expect(entry(4)).toMatch(/PERMANENT$/)
    return answers
  }
  await expect.poll(both).toEqual(['b1', 'b2'])
})
