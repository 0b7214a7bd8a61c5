// examples/systemd on a machine that boots: the policy is in force before the network is configured, a reload applies
// edits, and neither mistakes nor stopping change the policy.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMANDS } from '../../src/commands/table.ts'
import { BalanceLab, vipOf } from '../support/balance.ts'
import { ETH0 } from '../support/hosts.ts'
import { Machine } from '../support/machine.ts'
import { pack } from '../support/package.ts'

const UNITS = ['xdp.service', 'xdp-watch.service'] as const
/** The drop-in for health checks through VIPs. */
const DROP_IN = 'checks-through-vip.conf'
const VIP = vipOf(1)
const EXAMPLES = fileURLToPath(new URL('../../examples/systemd', import.meta.url))
const [HOST, LISTED, OTHER] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'] as const
/** Highest exposure by `systemd-analyze security`, in tenths; up to 4.9 is rated OK. */
const MOST_EXPOSURE = 25

const config = (blocked: string): string =>
  `version: 1\ninterfaces:\n  eth0: { mode: native }\nblocklist:\n  - ${blocked}\n`

/** Replaces the network configuration: records the state of the interface when it runs. */
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

let lab: BalanceLab
let machine: Machine | string = 'not made'

beforeAll(async () => {
  lab = await BalanceLab.open(1)
  const { tarball } = await pack(lab.directory)
  machine = await Machine.make({ packages: [], lab, boots: true })
  if (typeof machine === 'string') return
  machine.install(tarball)
  for (const unit of UNITS) machine.copy(`${EXAMPLES}/${unit}`, `/etc/systemd/system/${unit}`)
  machine.write('/etc/systemd/system/network.service', NETWORK)
  machine.write('/etc/xdp/xdp.yaml', config(LISTED))
  machine.enable('xdp.service', 'sysinit.target')
  machine.enable('network.service', 'multi-user.target')
  // The interface appears during the boot, as with a slow driver.
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

test('at boot the unit waits for its interface, and the network for the unit', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const box = machine
  await expect.poll(() => property(box, 'xdp.service', 'ActiveState')).toBe('activating')
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

test('a reload applies an edit; a mistake is logged with its place and changes nothing', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  machine.write('/etc/xdp/xdp.yaml', config(OTHER))
  await machine.ok('systemctl', 'reload', 'xdp')
  expect(await answered()).toEqual([1, 0])
  machine.write('/etc/xdp/xdp.yaml', config('192.0.2.300'))
  expect((await machine.run('systemctl', 'reload', 'xdp')).exitCode).not.toBe(0)
  // The journal gets the output of a unit a little after systemctl returns.
  const journal = expect.poll(() => (machine as Machine).journal('xdp.service'))
  await journal.toContain('/etc/xdp/xdp.yaml:5:5: error[E020 bad-address]')
  expect(await machine.ok('xdp', 'status')).toMatch(
    /! The last apply failed at .* with exit status 78\.\n.*xdp\.yaml:5:5/,
  )
  expect(await machine.ok('systemctl', 'is-active', 'xdp')).toBe('active\n')
  expect(await answered()).toEqual([1, 0])
})

test('stopping and starting leaves the policy in force', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  machine.write('/etc/xdp/xdp.yaml', config(OTHER))
  await machine.ok('systemctl', 'stop', 'xdp')
  expect(await answered()).toEqual([1, 0])
  await machine.ok('systemctl', 'start', 'xdp')
  expect(JSON.parse(await machine.ok('cat', '/run/xdp/last-apply.json'))).toMatchObject({ result: 'unchanged' })
})

test('the guardian of an unconfirmed apply is a unit outside of the session, and puts the policy back', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const box = machine
  box.write('/etc/xdp/xdp.yaml', config(OTHER))
  await box.ok('xdp', 'apply', '--auto-approve')
  box.write('/etc/xdp/xdp.yaml', config(LISTED))
  const apply = ['xdp', 'apply', '--auto-approve', '--json', '--confirm']
  const { pending_confirmation: pending } = JSON.parse(await box.ok(...apply, '1h'))
  const unit = `xdp-guardian-${pending.id}.service`
  expect(await property(box, unit, 'ActiveState')).toBe('active')
  expect(await property(box, unit, 'ControlGroup')).toBe(`/system.slice/${unit}`)
  expect(await answered()).toEqual([0, 1])
  await box.ok('xdp', 'confirm', '--extend', '1s')
  await expect.poll(answered).toEqual([1, 0])
  await expect.poll(() => property(box, unit, 'LoadState')).toBe('not-found')
  // A stop of the unit, as at a shutdown, puts the policy back at once.
  const again = JSON.parse(await box.ok(...apply, '1h')).pending_confirmation
  await box.ok('systemctl', 'stop', `xdp-guardian-${again.id}.service`)
  expect(await answered()).toEqual([1, 0])
  expect(JSON.parse(await box.ok('xdp', 'status', '--json'))).toMatchObject({ reverted: { reason: 'stopped' } })
})

describe('the units', () => {
  test('pass systemd-analyze verify', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const { exitCode, stderr } = await machine.run('systemd-analyze', 'verify', ...UNITS)
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
  })

  test.for(UNITS)('%s has an exposure rated OK', async (unit, context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const threshold = `--threshold=${MOST_EXPOSURE}`
    const { exitCode, stdout } = await machine.run('systemd-analyze', 'security', '--no-pager', threshold, unit)
    expect(stdout).toContain(`Overall exposure level for ${unit}`)
    expect(exitCode, stdout).toBe(0)
  })

  test('have no ExecStop', () => {
    for (const unit of UNITS) expect(readFileSync(`${EXAMPLES}/${unit}`, 'utf8')).not.toMatch(/^ExecStop/m)
  })
})

describe('xdp-watch.service', () => {
  const isBuilt = COMMANDS.some(({ name }) => name === 'watch')

  test('is ready with the policy in force, applies edits, and is restarted when it hangs', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    if (!isBuilt) return context.skip('this build has no `xdp watch`')
    const box = machine
    const unit = 'xdp-watch.service'
    box.write(`/etc/systemd/system/${unit}.d/soon.conf`, '[Service]\nWatchdogSec=5s\nRestartSec=100ms\n')
    await box.ok('systemctl', 'daemon-reload')
    await box.ok('systemctl', 'start', unit)
    expect(await box.ok('systemctl', 'is-active', unit)).toBe('active\n')
    // It holds the policy that the guardian put back, until the file that was not confirmed is edited.
    await expect.poll(() => box.journal(unit)).toContain('because /etc/xdp/xdp.yaml was not confirmed')
    expect(await answered()).toEqual([1, 0])
    box.write('/etc/xdp/xdp.yaml', `${config(LISTED)}# edited\n`)
    await expect.poll(answered).toEqual([0, 1])
    box.write('/etc/xdp/xdp.yaml', config('192.0.2.300'))
    await expect.poll(() => property(box, unit, 'StatusText')).toContain('/etc/xdp/xdp.yaml:5:5')
    box.write('/etc/xdp/xdp.yaml', config(LISTED))
    await box.ok('systemctl', 'reload', unit)
    await box.ok('systemctl', 'kill', '--kill-who=main', '--signal=STOP', unit)
    await expect.poll(() => property(box, unit, 'NRestarts')).not.toBe('0')
    await expect.poll(() => property(box, unit, 'ActiveState')).toBe('active')
    expect(await answered()).toEqual([0, 1])
    await box.ok('systemctl', 'stop', unit)
    expect(await property(box, unit, 'Result')).toBe('success')
    expect(await answered()).toEqual([0, 1])
  })

  test('with its drop-in, it makes health checks through VIPs', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const box = machine
    const unit = 'xdp-watch.service'
    box.copy(`${EXAMPLES}/${DROP_IN}`, `/etc/systemd/system/${unit}.d/${DROP_IN}`)
    const service = `  web: { vip: ${VIP}, port: 80, protocol: tcp, forwarding: dsr, backends: [${lab.address(1)}], fallback: drop,
    health: { type: tcp, via: vip, interval: 500ms, timeout: 450ms, fall: 2, rise: 1 } }`
    box.write('/etc/xdp/xdp.yaml', `version: 1\ninterfaces: { eth0: {}, eth1: {} }\nservices:\n${service}\n`)
    lab.route()
    lab.holdVips(VIP)
    await box.ok('systemctl', 'daemon-reload')
    await box.ok('systemctl', 'start', unit)
    await expect.poll(() => lab.fetch(VIP)).toBe('b1')
    lab.script(lab.backends[0]?.netns ?? '', `ip addr del ${VIP}/32 dev lo`)
    await expect.poll(() => box.journal(unit)).toContain('is down: no answer within 450 ms')
    lab.holdVips(VIP)
    await expect.poll(() => box.journal(unit)).toContain('is up')
    expect(await box.journal(unit)).not.toContain('{"')
    await box.ok('systemctl', 'stop', unit)
    expect(await property(box, unit, 'Result')).toBe('success')
  })
})
