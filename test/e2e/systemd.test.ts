// examples/systemd on a machine that really boots it: the policy is in force before the network is configured, edits
// are taken by a reload, mistakes change nothing, and stopping does not either.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMANDS } from '../../src/commands/table.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { Machine } from '../support/machine.ts'
import { pack } from '../support/package.ts'

const UNITS = ['xdp.service', 'xdp-watch.service'] as const
const EXAMPLES = fileURLToPath(new URL('../../examples/systemd', import.meta.url))
const [HOST, LISTED, OTHER] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'] as const
/** Tenths of the exposure that `systemd-analyze security` finds, which calls everything up to 4.9 OK. */
const MOST_EXPOSURE = 25

const config = (blocked: string): string =>
  `version: 1\ninterfaces:\n  eth0: { mode: native }\nblocklist:\n  - ${blocked}\n`

/** In place of what configures the network: it notes what it finds when its turn comes. */
const NETWORK = `[Unit]
DefaultDependencies=no
After=network-pre.target
Before=network.target
Wants=network.target
[Service]
Type=oneshot
ExecStart=sh -c 'ip -details link show eth0 > /run/found'
[Install]
WantedBy=multi-user.target
`

let lab: Lab
let machine: Machine | string = 'not made'

beforeAll(async () => {
  lab = new Lab()
  const { tarball } = await pack(lab.directory)
  machine = await Machine.make({ packages: [], lab, boots: true })
  if (typeof machine === 'string') return
  machine.install(tarball)
  for (const unit of UNITS) machine.copy(`${EXAMPLES}/${unit}`, `/etc/systemd/system/${unit}`)
  machine.write('/etc/systemd/system/network.service', NETWORK)
  machine.write('/etc/xdp/xdp.yaml', config(LISTED))
  machine.enable('xdp.service', 'sysinit.target')
  machine.enable('network.service', 'multi-user.target')
  // The interface comes while the machine boots, as on a host whose driver takes its time.
  lab.unplug('eth0')
  await machine.boot({ wait: false })
})
afterAll(async () => {
  if (typeof machine !== 'string') await machine.close()
  lab.close()
})

const property = async (box: Machine, unit: string, name: string): Promise<string> =>
  (await box.ok('systemctl', 'show', '--value', '--property', name, unit)).trim()

const answered = async (): Promise<number[]> => [
  await lab.ping(HOST, { source: LISTED, count: 1 }),
  await lab.ping(HOST, { source: OTHER, count: 1 }),
]

test('at boot it waits for its interface, and the network for it', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const box = machine
  await expect.poll(() => property(box, 'xdp.service', 'ActiveState'), { timeout: 20_000 }).toBe('activating')
  expect(await property(box, 'network-pre.target', 'ActiveState')).toBe('inactive')
  lab.plug(ETH0)
  await box.run('systemctl', 'is-system-running', '--wait')
  expect(await box.ok('systemctl', 'is-active', 'xdp.service', 'network-pre.target', 'network.target')).toBe(
    'active\nactive\nactive\n',
  )
  expect(await box.ok('cat', '/run/found')).toContain('prog/xdp id ')
  expect(await answered()).toEqual([0, 1])
  expect(JSON.parse(await box.ok('cat', '/run/xdp/last-apply.json'))).toMatchObject({ result: 'applied' })
  expect(await box.ok('systemctl', 'is-system-running')).toBe('running\n')
})

test('a reload takes an edit; a mistake is told with its place and changes nothing', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  machine.write('/etc/xdp/xdp.yaml', config(OTHER))
  await machine.ok('systemctl', 'reload', 'xdp')
  expect(await answered()).toEqual([1, 0])
  machine.write('/etc/xdp/xdp.yaml', config('192.0.2.300'))
  expect((await machine.run('systemctl', 'reload', 'xdp')).exitCode).not.toBe(0)
  // The journal hears what a unit says a little later than systemctl hears that it ended.
  const journal = expect.poll(() => (machine as Machine).journal('xdp.service'), { timeout: 20_000 })
  await journal.toContain('/etc/xdp/xdp.yaml:5:5: error[E020 bad-address]')
  expect(await machine.ok('xdp', 'status')).toMatch(
    /! The last apply failed at .* with exit status 78\.\n.*xdp\.yaml:5:5/,
  )
  expect(await machine.ok('systemctl', 'is-active', 'xdp')).toBe('active\n')
  expect(await answered()).toEqual([1, 0])
})

test('stopping it takes nothing away, nor does starting it again', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  machine.write('/etc/xdp/xdp.yaml', config(OTHER))
  await machine.ok('systemctl', 'stop', 'xdp')
  expect(await answered()).toEqual([1, 0])
  await machine.ok('systemctl', 'start', 'xdp')
  expect(JSON.parse(await machine.ok('cat', '/run/xdp/last-apply.json'))).toMatchObject({ result: 'unchanged' })
})

describe('the units', () => {
  test('have no mistakes that systemd knows', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const { exitCode, stderr } = await machine.run('systemd-analyze', 'verify', ...UNITS)
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
  })

  test.for(UNITS)('%s is exposed little', async (unit, context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const threshold = `--threshold=${MOST_EXPOSURE}`
    const { exitCode, stdout } = await machine.run('systemd-analyze', 'security', '--no-pager', threshold, unit)
    expect(stdout).toContain(`Overall exposure level for ${unit}`)
    expect(exitCode, stdout).toBe(0)
  })

  test('never stop what is in force', () => {
    for (const unit of UNITS) expect(readFileSync(`${EXAMPLES}/${unit}`, 'utf8')).not.toMatch(/^ExecStop/m)
  })
})

describe('xdp-watch.service', () => {
  const isBuilt = COMMANDS.some(({ name }) => name === 'watch')

  test('is ready when the policy is in force, takes edits, and comes back when it hangs', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    if (!isBuilt) return context.skip('this build has no `xdp watch`')
    const box = machine
    const unit = 'xdp-watch.service'
    box.write(`/etc/systemd/system/${unit}.d/soon.conf`, '[Service]\nWatchdogSec=5s\nRestartSec=100ms\n')
    await box.ok('systemctl', 'daemon-reload')
    await box.ok('systemctl', 'start', unit)
    expect(await box.ok('systemctl', 'is-active', unit)).toBe('active\n')
    expect(await answered()).toEqual([1, 0])
    box.write('/etc/xdp/xdp.yaml', config(LISTED))
    await expect.poll(answered, { timeout: 20_000 }).toEqual([0, 1])
    box.write('/etc/xdp/xdp.yaml', config('192.0.2.300'))
    await expect.poll(() => property(box, unit, 'StatusText'), { timeout: 20_000 }).toContain('/etc/xdp/xdp.yaml:5:5')
    box.write('/etc/xdp/xdp.yaml', config(LISTED))
    await box.ok('systemctl', 'reload', unit)
    await box.ok('systemctl', 'kill', '--kill-who=main', '--signal=STOP', unit)
    await expect.poll(() => property(box, unit, 'NRestarts'), { timeout: 30_000 }).not.toBe('0')
    await expect.poll(() => property(box, unit, 'ActiveState'), { timeout: 30_000 }).toBe('active')
    expect(await answered()).toEqual([0, 1])
    await box.ok('systemctl', 'stop', unit)
    expect(await property(box, unit, 'Result')).toBe('success')
    expect(await answered()).toEqual([0, 1])
  })
})
