// Edits of a service under load: connections stay on their backend through changes of weights and backends. Afterwards
// new flows follow the weights, and no counter has restarted.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, vipOf } from '../support/balance.ts'
import { usually } from '../support/depth.ts'
import { type Random, randomFrom } from '../support/random.ts'

const EDITS = usually(4, { thoroughly: 50 })
const VIP = vipOf(10)

let lab: BalanceLab

interface Member {
  readonly weight: number
  readonly state: 'active' | 'drain'
}

type Members = ReadonlyMap<string, Member>

const line = ([address, { weight, state }]: readonly [string, Member]): string =>
  `      - { address: ${address}, weight: ${weight}, state: ${state} }\n`

/** A web service with these backends, and a UDP service with them. */
function config(members: Members): string {
  const backends = [...members].map(line).join('')
  const service = (name: string, protocol: string, port: number): string =>
    `  ${name}:\n    vip: ${VIP}\n    port: ${port}\n    protocol: ${protocol}\n    forwarding: nat\n    backends:\n${backends}`
  return `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {}, eth3: {} }
services:
${service('web', 'tcp', 80)}${service('echo', 'udp', 7)}`
}

/** Nine backends in three namespaces. */
const every = (): string[] => [1, 2, 3].flatMap((n) => [1, 2, 3].map((host) => lab.address(n, host)))

/** One random edit: add, remove, drain, activate, reweight, or swap all but one; sometimes no change. */
function tried(members: Members, { pick, below }: Random): Members {
  const absent = every().filter((address) => !members.has(address))
  const present = [...members.keys()]
  const fresh: Member = { weight: 1 + below(5), state: 'active' }
  const next = new Map(members)
  switch (below(6)) {
    case 0:
      if (absent.length > 0) return next.set(pick(absent), fresh)
      return next
    case 1:
      if (present.length > 2) next.delete(pick(present))
      return next
    case 2:
      return next.set(pick(present), { weight: 1, state: 'drain' })
    case 3:
      return next.set(pick(present), fresh)
    case 4:
      return next.set(pick(present), { weight: 0, state: 'active' })
    default: {
      const kept = pick(present)
      return new Map([[kept, members.get(kept) as Member], ...absent.map((address) => [address, fresh] as const)])
    }
  }
}

/** The observable state of backends: leaves out their order, and the weights of draining ones. */
const essence = (members: Members): string =>
  [...members]
    .map(([address, { weight, state }]) => `${address} ${state === 'drain' ? 0 : weight}`)
    .sort()
    .join()

/** An edit that changes the observable state. */
function edited(members: Members, random: Random): Members {
  for (;;) {
    const next = tried(members, random)
    if (essence(next) !== essence(members)) return next
  }
}

beforeAll(async () => {
  lab = await BalanceLab.open()
  await lab.echo()
})
afterAll(() => lab.close())

interface Counted {
  readonly name: string
  readonly flows: number
  readonly packets: number
  readonly hits: number
}

async function counters(): Promise<readonly Counted[]> {
  return JSON.parse(await lab.ok('status', '--json')).services
}

test(`${EDITS} edits under load cut no connection`, { timeout: 600_000 }, async () => {
  const seed = Date.now()
  const random = randomFrom(seed)
  let members: Members = new Map(
    every()
      .slice(0, 4)
      .map((address) => [address, { weight: 1, state: 'active' }]),
  )
  lab.write('xdp.yaml', config(members))
  await lab.ok('apply', '--auto-approve')
  const load = await lab.load(VIP, 40)
  let before = await counters()
  for (let edit = 1; edit <= EDITS; edit++) {
    members = edited(members, random)
    lab.write('xdp.yaml', config(members))
    await lab.ok('apply', '--auto-approve')
    if (edit % 4 !== 0) continue
    const after = await counters()
    for (const [i, { name, packets, hits, flows }] of after.entries()) {
      expect([name, packets >= (before[i]?.packets ?? 0), hits >= (before[i]?.hits ?? 0)]).toEqual([name, true, true])
      expect(flows).toBeGreaterThanOrEqual(before[i]?.flows ?? 0)
    }
    before = after
  }
  const { connections, requests } = await load.stop()
  expect(
    connections.filter(({ error }) => error !== undefined),
    `seed ${seed}`,
  ).toEqual([])
  expect(connections.every((one) => one.requests > EDITS)).toBe(true)
  const web = (await counters()).find(({ name }) => name === 'web')
  expect(web?.flows).toBe(connections.length)
  // A request takes at least one packet, and so does the acknowledgement of its answer.
  expect(web?.packets).toBeGreaterThan(requests)
  const { generation } = JSON.parse(await lab.ok('status', '--json'))
  expect(generation).toBeGreaterThan(EDITS / 2)
})

test('20,000 new flows follow the weights to within 2 %', async () => {
  const weights = { b1: 1, b2: 2, b3: 5 }
  const members = Object.values(weights).map((weight, i) => [lab.address(i + 1), { weight, state: 'active' }] as const)
  lab.write('xdp.yaml', config(new Map(members)))
  await lab.ok('apply', '--auto-approve')
  const answers = await lab.flows(VIP, 20_000)
  expect(answers['none'] ?? 0).toBe(0)
  for (const [name, weight] of Object.entries(weights))
    expect(Math.abs((answers[name] ?? 0) / 20_000 - weight / 8), JSON.stringify(answers)).toBeLessThan(0.02)
})

test('a disabled backend loses its connections at once, the others keep theirs', async () => {
  const active = { weight: 1, state: 'active' } as const
  const members = new Map([1, 2, 3].map((n) => [lab.address(n), active]))
  lab.write('xdp.yaml', config(members))
  await lab.ok('apply', '--auto-approve')
  const load = await lab.load(VIP, 30)
  lab.write(
    'xdp.yaml',
    config(members).replaceAll(`${lab.address(1)}, weight: 1, state: active`, `${lab.address(1)}, state: disabled`),
  )
  const plan = await lab.ok('plan')
  expect(plan).toMatch(/~ service web +traffic-gap/)
  expect(plan).toContain('state active -> disabled, its flows end')
  await lab.ok('apply', '--auto-approve')
  expect(lab.fetch(VIP)).not.toBe('b1')
  const { connections } = await load.stop()
  for (const { backend, error } of connections) {
    if (backend === 'b1') expect(error).toBeDefined()
    else expect(error, `on ${backend}`).toBeUndefined()
  }
  expect(connections.some(({ backend }) => backend !== 'b1')).toBe(true)
})
