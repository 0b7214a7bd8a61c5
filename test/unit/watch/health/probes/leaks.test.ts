// Probes leave no file descriptor open, however they end.

import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { userInfo } from 'node:os'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { HealthCheck } from '../../../../../src/model/health.ts'
import {
  closedPort,
  dns,
  grpc,
  grpcs,
  http,
  https,
  resultOf,
  Servers,
  started,
  tcp,
  udp,
} from '../../../../support/probes.ts'

let servers: Servers
beforeEach(() => {
  servers = new Servers()
})
afterEach(() => servers.close())

const descriptors = (): number => readdirSync('/proc/self/fd').length

test('many checks of every type leave the count of open descriptors unchanged', async () => {
  const open = await servers.listen(createServer((_, response) => response.end('all is well')))
  const closed = await closedPort()
  const { type: _, ...common } = tcp(open)
  const checks: readonly HealthCheck[] = [
    ...[tcp, http, udp, grpc, dns].flatMap((of) => [of(open), of(closed)]),
    ...[open, closed].map((port) => dns(port, { transport: 'tcp' })),
    grpcs(open, { verify: false }),
    http(open, { body: 'is ill' }),
    https(open, { verify: false }),
    ...['/bin/true', '/bin/false', '/none'].map(
      (path) => ({ ...common, type: 'exec', command: [path], user: userInfo().username }) as const,
    ),
  ]
  const round = async (): Promise<void> => {
    await Promise.all(checks.map((check) => resultOf(check)))
    for (const check of checks) started(check).abandon()
  }
  // The first round opens descriptors that stay open.
  await round()
  const before = await settled()
  for (let i = 0; i < 20; i++) await round()
  await expect.poll(descriptors).toBeLessThanOrEqual(before)
})

/** The count of open descriptors once it has stopped changing. */
async function settled(): Promise<number> {
  let last = -1
  await expect
    .poll(() => {
      const now = descriptors()
      const isSame = now === last
      last = now
      return isSame
    })
    .toBe(true)
  return last
}
