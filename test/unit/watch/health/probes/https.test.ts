// HTTPS checks against a real server with certificates of a test authority.

import { copyFileSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { createSecureContext } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { HttpsCheck } from '../../../../../src/model/health.ts'
import type { Probe } from '../../../../../src/watch/health/loop.ts'
import { probeHttp } from '../../../../../src/watch/health/probes/http.ts'
import { Trust } from '../../../../../src/watch/health/probes/trust.ts'
import { Certificates, type Pair } from '../../../../support/certificates.ts'
import { https, outcomeOf, Servers } from '../../../../support/probes.ts'

let certificates: Certificates
const file = (name: string): string => certificates.file(name)

beforeAll(() => {
  certificates = new Certificates()
  certificates.authority('authority')
  certificates.authority('other')
  certificates.certificate('named', 'authority', 'DNS:web.example')
  certificates.certificate('addressed', 'authority', 'IP:127.0.0.1')
})
afterAll(() => certificates.close())

let servers: Servers
let asked: (string | undefined)[]
beforeEach(() => {
  servers = new Servers()
  asked = []
})
afterEach(() => servers.close())

const pair = (name: string): Pair => certificates.pair(name)

/** Serves as web.example where SNI asks for it, else as 127.0.0.1. */
async function serve(): Promise<number> {
  const server = createServer(
    {
      ...pair('addressed'),
      SNICallback: (name, done) =>
        done(null, createSecureContext(pair(name === 'web.example' ? 'named' : 'addressed'))),
    },
    (request, response) => {
      asked.push((request.socket as unknown as { servername?: string | false }).servername || undefined)
      response.end('all is well')
    },
  )
  return servers.listen(server)
}

const probeWith =
  (trust: Trust): Probe =>
  (check, _, done) =>
    probeHttp(check as HttpsCheck, trust, done)
const trusting = (...names: readonly string[]): Probe =>
  probeWith(
    new Trust(
      () => 0,
      names.map((name) => file(`${name}.crt`)),
    ),
  )

const CASES: readonly (readonly [string, Partial<HttpsCheck>, string, string | RegExp])[] = [
  ['an SNI name that the certificate has', { sni: 'web.example' }, 'authority', 'good'],
  ['the name of the Host header', { host: 'web.example:8443' }, 'authority', 'good'],
  ['an SNI name that overrides the Host header', { host: 'other.example', sni: 'web.example' }, 'authority', 'good'],
  ['no name: verifies the address', {}, 'authority', 'good'],
  ['a Host header with an address', { host: '127.0.0.1' }, 'authority', 'good'],
  [
    'a name that the certificate does not have',
    { sni: 'other.example' },
    'authority',
    /^bad: the certificate is for 127\.0\.0\.1, not for other\.example$/,
  ],
  ['an unknown authority', { sni: 'web.example' }, 'other', /^bad: the certificate is signed by an unknown issuer/],
  ['a wrong name with verify: false', { sni: 'other.example', verify: false }, 'other', 'good'],
  ['a body without the text', { body: 'is ill' }, 'authority', 'bad: the text is not in the body'],
]

test.each(CASES)('%s', async (_, more, trusted, expected) => {
  const said = await outcomeOf(https(await serve(), more), trusting(trusted))
  if (typeof expected === 'string') expect(said).toBe(expected)
  else expect(said).toMatch(expected)
})

test.each([
  ['expired', 'the certificate has expired'],
  ['selfsigned', 'the certificate is self-signed'],
])('fails a server whose certificate is %s', async (name, reason) => {
  if (name === 'selfsigned') certificates.selfSigned(name, 'DNS:web.example')
  else certificates.expired(name, 'authority', 'DNS:web.example')
  const port = await servers.listen(createServer(pair(name), (_, response) => response.end()))
  expect(await outcomeOf(https(port, { sni: 'web.example' }), trusting('authority'))).toBe(`bad: ${reason}`)
})

test('SNI carries a name, but never an address', async () => {
  const port = await serve()
  for (const more of [{ sni: 'web.example' }, { host: 'web.example' }, {}, { host: '127.0.0.1' }]) {
    expect(await outcomeOf(https(port, more), trusting('authority'))).toBe('good')
  }
  expect(asked).toEqual(['web.example', 'web.example', undefined, undefined])
})

test('fails a server without TLS', async () => {
  const port = await servers.listen(createTcpServer((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n')))
  expect(await outcomeOf(https(port, { verify: false }), trusting('authority'))).toBe('bad: the answer is not TLS')
})

test('reads the first bundle that exists, and reads it again when it changes', async () => {
  let now = 0
  const bundle = file('bundle')
  copyFileSync(file('other.crt'), bundle)
  const probe = probeWith(new Trust(() => now, [file('none'), bundle, file('authority.crt')]))
  const check = https(await serve(), { sni: 'web.example' })
  expect(await outcomeOf(check, probe)).toMatch(/^bad: the certificate is signed by an unknown issuer/)
  copyFileSync(file('authority.crt'), bundle)
  utimesSync(bundle, 1, 1)
  expect(await outcomeOf(check, probe)).toMatch(/^bad: the certificate is signed by an unknown issuer/)
  now += 60_000
  expect(await outcomeOf(check, probe)).toBe('good')
})

test('throws on a damaged bundle instead of failing the backend', async () => {
  writeFileSync(file('broken.crt'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
  const check = https(await serve())
  const probe = trusting('broken')
  expect(() => probe(check, { service: 'web', backend: '' }, () => undefined)).toThrow(
    'does not begin with a certificate',
  )
})
