import { describe, expect, test } from 'vitest'
import type { HealthCheck } from '../../../src/model/health.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { backendKey, type Service } from '../../../src/model/service.ts'
import { formatAddress } from '../../../src/model/text.ts'
import { HEAD, loadText } from '../../support/config.ts'

const WEB = `vip: 192.0.2.10
    port: 443
    protocol: tcp
    forwarding: nat`

async function load(body: string) {
  const { desired, warnings } = await loadText(`${HEAD}services:\n  web:\n    ${body}\n`)
  return { desired, warnings, web: desired.state.services.get('web') as Service }
}

const backendsOf = ({ backends }: Service): string[] =>
  backends.map(({ weight, state, ...backend }) => `${backendKey(backend)} ${weight} ${state}`)

describe('a service', () => {
  test('has the documented defaults', async () => {
    const { web, desired, warnings } = await load(`${WEB}\n    backends: [10.0.0.11]`)
    expect(warnings).toEqual([])
    expect(web).toEqual({
      name: 'web',
      vip: { family: 4, words: Uint32Array.of(0xc000020a) },
      ports: [{ first: 443, last: 443 }],
      protocols: ['tcp'],
      forwarding: 'nat',
      scheduler: 'maglev',
      hash: 'five_tuple',
      onEmpty: 'drop',
      snatPool: [],
      guePort: 6080,
      outerSource: {
        v4: { address: { family: 4, words: Uint32Array.of(0xac100000) }, length: 16 },
        v6: { family: 6, words: Uint32Array.of(0x01000000, 0, 0, 0) },
      },
      repliesFrom: 'route',
      udpTimeout: 30,
      drainTimeout: undefined,
      mtu: undefined,
      sorry: undefined,
      backends: [
        {
          address: { family: 4, words: Uint32Array.of(0x0a00000b) },
          port: undefined,
          weight: 1,
          state: 'active',
          backup: false,
          mtu: undefined,
          nextHop: undefined,
        },
      ],
    })
    expect(desired.health.size).toBe(0)
    expect(desired.state.policy?.flows).toBe(DEFAULT_POLICY.flows)
  })

  test('does not depend on the order of its backends', async () => {
    const one = await load(
      `${WEB}\n    backends: [10.0.0.2, { address: 10.0.0.2, port: 80 }, 10.0.0.10, { address: 10.0.0.1, weight: 0 }]`,
    )
    const two = await load(
      `${WEB}\n    backends: [{ address: 10.0.0.1, weight: 0 }, 10.0.0.10, { address: 10.0.0.2, port: 80 }, 10.0.0.2]`,
    )
    expect(two.web).toEqual(one.web)
    expect(backendsOf(one.web)).toEqual([
      '10.0.0.1 0 active',
      '10.0.0.2 1 active',
      '10.0.0.2:80 1 active',
      '10.0.0.10 1 active',
    ])
  })

  test.each([
    ['port: any', [{ first: 0, last: 65535 }]],
    ['port: 8000-8099', [{ first: 8000, last: 8099 }]],
    ['port: 65535', [{ first: 65535, last: 65535 }]],
    ['port: [443]', [{ first: 443, last: 443 }]],
    [
      'port: [8000-8099, 443, 80]',
      [
        { first: 80, last: 80 },
        { first: 443, last: 443 },
        { first: 8000, last: 8099 },
      ],
    ],
  ])('%s', async (port, ports) => {
    const { web } = await load(`${WEB.replace('port: 443', port)}\n    backends: [10.0.0.11]`)
    expect(web.ports).toEqual(ports)
  })

  test.each([
    ['udp', ['udp']],
    ['[tcp]', ['tcp']],
    ['[udp, tcp]', ['tcp', 'udp']],
  ])('protocol: %s', async (protocol, expected) => {
    const { web } = await load(`${WEB.replace('tcp', protocol)}\n    backends: [{ address: 10.0.0.11, port: 5353 }]`)
    expect(web.protocols).toEqual(expected)
  })

  test('has backups, and the fallback that leads to them', async () => {
    const body = `${WEB}\n    health: { type: tcp }\n    backends: [10.0.0.11, { address: 10.0.0.21, backup: true }]`
    const { web, desired, warnings } = await load(body)
    expect(warnings).toEqual([])
    expect(web.backends.map(({ backup }) => backup)).toEqual([false, true])
    expect(desired.health.get('web')?.fallback).toBe('backup')
  })

  test.each([
    ['on_empty: reject', 'on_empty'],
    ['on_empty: pass', 'keep_last'],
    ['on_empty: reject\n    fallback: drop', 'drop'],
  ])('with %s has the fallback %s', async (lines, fallback) => {
    const { desired } = await load(`${WEB}\n    health: { type: tcp }\n    ${lines}\n    backends: [10.0.0.11]`)
    expect(desired.health.get('web')?.fallback).toBe(fallback)
  })

  test.each([
    ['no other backend has a check', '[10.0.0.11, { address: 10.0.0.21, backup: true }]'],
    ['there is no other backend', '[{ address: 10.0.0.21, backup: true }]'],
    ['every other backend is drained', '[{ address: 10.0.0.11, state: drain }, { address: 10.0.0.21, backup: true }]'],
  ])('warns of backups if %s', async (_, backends) => {
    const { warnings } = await load(`${WEB}\n    backends: ${backends}`)
    expect(warnings.map(({ code, at }) => [code, at?.line])).toEqual([['W232', 4]])
  })

  test('with full NAT has a sorted pool without duplicates', async () => {
    const pool = '[192.0.2.25, 192.0.2.20-192.0.2.22, 192.0.2.20, 198.51.100.0/31]'
    const { web } = await load(`${WEB}\n    snat: true\n    snat_pool: ${pool}\n    backends: [10.0.0.11]`)
    expect(web.snatPool.map(({ family, words }) => formatAddress(family, words))).toEqual([
      ...['192.0.2.20', '192.0.2.21', '192.0.2.22', '192.0.2.25'],
      ...['198.51.100.0', '198.51.100.1'],
    ])
  })

  test('with encapsulation may have backends of the other family', async () => {
    const body = WEB.replace('nat', 'gue')
    const { web } = await load(
      `${body}\n    gue_port: 9886\n    outer_source: { v4: 10.64.0.0/10, v6: "2001:db8:ffff::/64" }\n    backends: ["2001:db8::11", 10.0.0.11]`,
    )
    expect(backendsOf(web)).toEqual(['10.0.0.11 1 active', '2001:db8::11 1 active'])
    expect(web.guePort).toBe(9886)
    expect(web.outerSource.v4.length).toBe(10)
    expect(formatAddress(6, web.outerSource.v6.words)).toBe('2001:db8:ffff::')
  })

  test('has its timeouts in seconds', async () => {
    const body = WEB.replace('tcp', 'udp')
    const { web } = await load(`${body}\n    udp_timeout: 2m\n    drain_timeout: 1d\n    backends: [10.0.0.11]`)
    expect([web.udpTimeout, web.drainTimeout]).toEqual([120, 86_400])
  })

  test('has an MTU, if one is written', async () => {
    const { web } = await load(`${WEB}\n    mtu: 1400\n    backends: [10.0.0.11]`)
    expect(web.mtu).toBe(1400)
  })

  test('has an MTU for a single backend, if one is written', async () => {
    const { web } = await load(`${WEB}\n    mtu: 1400\n    backends: [10.0.0.11, { address: 10.0.0.12, mtu: 1380 }]`)
    expect(web.backends.map(({ mtu }) => mtu)).toEqual([undefined, 1380])
  })

  test('has the places of its parts', async () => {
    const { desired } = await load(`${WEB}\n    backends:\n      - 10.0.0.12\n      - { address: 10.0.0.11 }`)
    const places = desired.provenance.services.get('web')
    expect(places?.at).toMatchObject({ line: 4, column: 3, length: 3 })
    expect(places?.vip).toMatchObject({ line: 5, column: 10 })
    expect(places?.backend('10.0.0.12')).toMatchObject({ line: 10, column: 9 })
    expect(places?.backend('10.0.0.11')).toMatchObject({ line: 11 })
    expect(places?.backend('10.0.0.13')).toBeUndefined()
  })

  test('without a backend for new flows causes a warning', async () => {
    const backends = '[{ address: 10.0.0.1, weight: 0 }, { address: 10.0.0.2, state: drain }]'
    const { warnings } = await load(`${WEB}\n    on_empty: pass\n    backends: ${backends}`)
    expect(warnings).toMatchObject([{ code: 'W005', at: { line: 4 } }])
    expect(warnings[0]?.message).toContain('passed')
  })

  test('may be in an included file', async () => {
    const files = { 'conf.d/web.yaml': `services:\n  web:\n    ${WEB}\n    backends: [10.0.0.11]\n` }
    const { desired } = await loadText(`${HEAD}include: [conf.d/*.yaml]\n`, files)
    expect([...desired.state.services.keys()]).toEqual(['web'])
    expect(desired.provenance.services.get('web')?.at.file).toContain('conf.d/web.yaml')
  })
})

test('limits.flows is rounded up to a power of two', async () => {
  const { desired } = await loadText(`${HEAD}limits: { flows: 100000 }\n`)
  expect(desired.state.policy?.flows).toBe(131_072)
})

test('roles are sorted, and one role is enough', async () => {
  const { desired } = await loadText(
    'version: 1\ninterfaces: { a: { roles: [filter, balance] }, b: { roles: [filter] } }\n',
  )
  expect([...desired.state.interfaces.values()].map(({ roles }) => roles)).toEqual([['balance', 'filter'], ['filter']])
})

test('services without an interface that balances cause a warning', async () => {
  const { warnings } = await loadText(
    `version: 1\ninterfaces: { eth0: { roles: [filter] } }\nservices:\n  web:\n    ${WEB}\n    backends: [10.0.0.11]\n`,
  )
  expect(warnings.map(({ code }) => code)).toEqual(['W006'])
})

describe('health', () => {
  async function checks(body: string, service = WEB): Promise<Record<string, HealthCheck>> {
    const { desired } = await load(`${service}\n    ${body}`)
    return Object.fromEntries(desired.health.get('web')?.checks ?? [])
  }

  test('has the documented defaults, and checks the port after translation', async () => {
    const found = await checks('health: { type: tcp }\n    backends: [10.0.0.1, { address: 10.0.0.2, port: 8443 }]')
    expect(found).toEqual({
      '10.0.0.1': {
        type: 'tcp',
        address: { family: 4, words: Uint32Array.of(0x0a000001) },
        port: 443,
        intervalMs: 2000,
        jitterMs: 200,
        timeoutMs: 1000,
        rise: 2,
        fall: 3,
        slowStartMs: 0,
      },
      '10.0.0.2:8443': expect.objectContaining({ port: 8443 }),
    })
  })

  test('a backend may override its check, or turn it off', async () => {
    const found = await checks(
      'health: { type: http, port: 81, path: /live, interval: 10s, timeout: 3s, jitter: 0%, slow_start: 1m }\n' +
        '    backends: [10.0.0.1, { address: 10.0.0.2, health: { port: 82, path: / } }, ' +
        '{ address: 10.0.0.3, health: { type: tcp } }, { address: 10.0.0.4, health: false }]',
    )
    const schedule = { intervalMs: 10_000, timeoutMs: 3000, jitterMs: 0, slowStartMs: 60_000 }
    expect(found).toEqual({
      '10.0.0.1': expect.objectContaining({ ...schedule, type: 'http', port: 81, path: '/live' }),
      '10.0.0.2': expect.objectContaining({ ...schedule, type: 'http', port: 82, path: '/' }),
      '10.0.0.3': expect.objectContaining({ ...schedule, type: 'tcp', port: 81 }),
    })
    expect(found['10.0.0.3']).not.toHaveProperty('path')
  })

  test('http and https: method, host, statuses, body, name and verification', async () => {
    const found = await checks(
      'health: { type: https, host: www.example.com, method: GET, status: [301, 200-204, 302], body: "ok: é", verify: false }\n    backends: [10.0.0.1]',
    )
    expect(found['10.0.0.1']).toMatchObject({
      type: 'https',
      method: 'GET',
      path: '/',
      host: 'www.example.com',
      status: [
        { first: 200, last: 204 },
        { first: 301, last: 302 },
      ],
      body: 'ok: é',
      sni: undefined,
      verify: false,
    })
  })

  test('headers: those of a backend replace those of its service, and Host is host', async () => {
    const found = await checks(
      'health: { type: http, headers: { HOST: a.example, X-Probe: "1" } }\n' +
        '    backends: [10.0.0.1, { address: 10.0.0.2, health: { headers: { x-other: b } } }, ' +
        '{ address: 10.0.0.3, health: { host: c.example } }, { address: 10.0.0.4, health: { type: tcp } }]',
    )
    expect(found).toMatchObject({
      '10.0.0.1': { host: 'a.example', headers: { 'X-Probe': '1' } },
      '10.0.0.2': { host: undefined, headers: { 'x-other': 'b' } },
      '10.0.0.3': { host: 'c.example', headers: { 'X-Probe': '1' } },
    })
    expect(found['10.0.0.4']).not.toHaveProperty('headers')
  })

  test('grpc and grpcs: service, host, name and verification', async () => {
    expect(await checks('health: { type: grpc }\n    backends: [10.0.0.1]')).toMatchObject({
      '10.0.0.1': { type: 'grpc', port: 443, service: '', host: undefined },
    })
    const secure = 'health: { type: grpcs, grpc_service: a.B, host: c.example, verify: false }'
    expect(await checks(`${secure}\n    backends: [10.0.0.1]`)).toMatchObject({
      '10.0.0.1': { type: 'grpcs', service: 'a.B', host: 'c.example', sni: undefined, verify: false },
    })
  })

  test('dns: name, record, transport, codes and answer', async () => {
    const service = WEB.replace('tcp', 'udp')
    expect(await checks('health: { type: dns, query: a.example. }\n    backends: [10.0.0.1]', service)).toMatchObject({
      '10.0.0.1': { query: 'a.example', record: 'A', transport: 'udp', rcodes: ['noerror'], answer: undefined },
    })
    const more =
      'health: { type: dns, query: ".", record: SOA, transport: tcp, rcode: [noerror, refused, noerror], answer: b }'
    expect(await checks(`${more}\n    backends: [10.0.0.1]`, service)).toMatchObject({
      '10.0.0.1': { query: '', record: 'SOA', transport: 'tcp', rcodes: ['noerror', 'refused'], answer: 'b' },
    })
  })

  test('udp: text or hex digits', async () => {
    const service = WEB.replace('tcp', 'udp')
    expect(
      await checks('health: { type: udp, send: ping, expect_hex: "00FF" }\n    backends: [10.0.0.1]', service),
    ).toMatchObject({
      '10.0.0.1': { send: '70696e67', expect: '00ff' },
    })
    expect(await checks('health: { type: udp }\n    backends: [10.0.0.1]', service)).toMatchObject({
      '10.0.0.1': { send: '', expect: undefined },
    })
  })

  test('exec needs no port', async () => {
    const service = WEB.replace('443', 'any')
    expect(
      await checks('health: { type: exec, command: [/bin/check, -v] }\n    backends: [10.0.0.1]', service),
    ).toMatchObject({
      '10.0.0.1': { port: undefined, command: ['/bin/check', '-v'], user: 'nobody' },
    })
  })

  test('a short interval shortens the default timeout', async () => {
    const found = await checks('health: { type: tcp, interval: 250ms }\n    backends: [10.0.0.1]')
    expect(found['10.0.0.1']).toMatchObject({ intervalMs: 250, timeoutMs: 250 })
  })

  test('reads min_healthy: 0, which turns the fallback off', async () => {
    const { desired } = await load(`${WEB}\n    health: { type: tcp }\n    min_healthy: 0\n    backends: [10.0.0.1]`)
    expect(desired.health.get('web')?.minHealthy).toEqual({ kind: 'count', value: 0 })
  })

  test('reads min_healthy, fallback and sorry', async () => {
    const body =
      'health: { type: tcp }\n    min_healthy: 50%\n    fallback: sorry\n    sorry: { address: 10.0.0.99, port: 80 }'
    const { desired, web } = await load(`${WEB}\n    ${body}\n    backends: [10.0.0.1]`)
    expect(desired.health.get('web')).toMatchObject({ minHealthy: { kind: 'share', value: 0.5 }, fallback: 'sorry' })
    expect(web.sorry && backendKey(web.sorry)).toBe('10.0.0.99:80')
    const plain = await load(`${WEB}\n    health: { type: tcp }\n    backends: [10.0.0.1]`)
    expect(plain.desired.health.get('web')).toMatchObject({
      minHealthy: { kind: 'count', value: 1 },
      fallback: 'keep_last',
    })
  })
})
