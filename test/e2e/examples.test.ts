// Applies every example unchanged, reads it back without drift, and removes it without leftovers.

import { cpSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sample } from '../support/depth.ts'
import { ETH0, ETH1, Lab, NO_OBJECTS } from '../support/hosts.ts'

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url))
const files = readdirSync(EXAMPLES).filter((name) => name.endsWith('.yaml'))

/** The backends of the balancer's examples. */
const SERVERS = [11, 12, 13].flatMap((host) => [`198.51.100.${host}/24`, `2001:db8:1::${host}/64`])

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0, { ...ETH1, peerAddresses: [...ETH1.peerAddresses, ...SERVERS] }])
  cpSync(EXAMPLES, lab.directory, { recursive: true })
  cpSync(fileURLToPath(new URL('../../xdp.yaml.example', import.meta.url)), `${lab.directory}/tour.yaml`)
})
afterAll(() => lab.close())

test('examples has the expected files', () => {
  expect(files).toEqual(
    expect.arrayContaining([
      'minimal.yaml',
      'dns-amplification.yaml',
      'allowlist-mode.yaml',
      'dual-stack-vlan.yaml',
      'two-interfaces.yaml',
      'uplink-bogons.yaml',
      'anomalies.yaml',
      'rate-limits.yaml',
      'beside-another-program.yaml',
      ...['nat', 'full-nat', 'dsr', 'ipip', 'gue', 'edge', 'checks', 'ports'].map((name) => `balance-${name}.yaml`),
    ]),
  )
})

test.each(sample([...files, 'tour.yaml'], 2))('%s is applied, then has no changes, and is removed', async (file) => {
  const result = JSON.parse(await lab.ok('apply', '-f', file, '--auto-approve', '--json'))
  expect(result).toMatchObject({ changed: true, verified: true })
  expect(result.probes.run).toBeGreaterThan(0)
  expect(await lab.ok('plan', '-f', file, '--detailed-exitcode')).toContain('No changes.')
  await lab.ok('destroy', '--auto-approve')
  await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
})
