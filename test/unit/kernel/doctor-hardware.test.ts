// Findings about the settings of cards that no test machine has, and how the facts about them are read.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Card } from '../../../src/kernel/doctor/cards.ts'
import { readDevice, readProcessors } from '../../../src/kernel/doctor/device.ts'
import { checkHardware } from '../../../src/kernel/doctor/hardware.ts'
import { type Feature, parseBus, parseChannels, UNKNOWN_HARDWARE } from '../../../src/kernel/host/ethtool.ts'
import type { AttachMode } from '../../../src/model/state.ts'

const card = (driver: string, facts: Partial<Card> = {}, features: Readonly<Record<string, Feature>> = {}): Card => ({
  ...{ name: 'eth0', ifindex: 2, mtu: 1500, mac: '02005e1000fe', vlan: undefined, below: undefined, up: true },
  ...{ kind: 'physical', linkType: 'ether', isMultipoint: false, master: undefined, carrier: true, lower: undefined },
  ...{ variant: undefined, rxQueues: 8, txQueues: 8, programs: [], interrupts: [], virtualFunctions: 0 },
  hardware: { ...UNKNOWN_HARDWARE, driver, bus: '0000:03:00.0', features: new Map(Object.entries(features)) },
  ...facts,
})

const NATIVE = ['native'] as const
const found = (subject: Card, wanted: readonly AttachMode[] | undefined = NATIVE, balances = false) => {
  const processors = { possible: 8, online: [0, 1, 2, 3, 4, 5, 6, 7] }
  const checks = checkHardware(subject, wanted, {
    kernel: [6, 12],
    cards: new Map(),
    balances,
    answers: false,
    processors,
  })
  return new Map(checks.map((one) => [one.id.replace('interface.eth0.', ''), one]))
}

const ON: Feature = { on: true, fixed: false }
const FIXED: Feature = { on: true, fixed: true }

describe('merging of packets', () => {
  const lro = (driver: string, feature: Feature, wanted?: readonly AttachMode[]) =>
    found(card(driver, {}, { 'large-receive-offload': feature }), wanted).get('lro')

  test.each([
    ['ixgbe', ON, 'fail', 'ethtool -K eth0 lro off'],
    ['ixgbe', FIXED, 'fail', 'write `mode: generic`'],
    ['atlantic', ON, 'warn', 'ethtool -K eth0 lro off'],
    ['fnord', ON, 'warn', 'ethtool -K eth0 lro off'],
    ['fnord', FIXED, 'fail', 'write `mode: generic`'],
  ] as const)('LRO of %s, %j: %s', (driver, feature, level, fix) => {
    expect(lro(driver, feature)).toMatchObject({ level, fix: expect.stringContaining(fix) })
  })

  test('drivers that stop it by themselves, and cards on which it is off, have no finding', () => {
    expect([lro('bnxt_en', ON), lro('vmxnet3', ON), lro('ixgbe', { on: false, fixed: true })]).toEqual(
      Array(3).fill(undefined),
    )
  })

  test('is as severe as the config makes it', () => {
    const level = (...wanted: AttachMode[]) => lro('mlx5_core', ON, wanted)?.level
    expect([level('native'), level('native', 'generic'), level('generic')]).toEqual(['fail', 'warn', 'ok'])
  })

  test('GRO of the hardware is a matter of drivers that refuse it', () => {
    const groHw = (driver: string) => found(card(driver, {}, { 'rx-gro-hw': ON })).get('gro_hw')
    expect(groHw('mlx5_core')).toMatchObject({ level: 'fail', fix: 'ethtool -K eth0 rx-gro-hw off' })
    expect([groHw('virtio_net'), groHw('fnord')]).toEqual([undefined, undefined])
  })
})

describe('queues', () => {
  const ENA =
    'Channel parameters for eth0:\nPre-set maximums:\nRX:\t\tn/a\nTX:\t\tn/a\nOther:\t\tn/a\nCombined:\t8\nCurrent hardware settings:\nRX:\t\tn/a\nTX:\t\tn/a\nOther:\t\tn/a\nCombined:\t8\n'
  const withChannels = (driver: string, text: string): Card => {
    const made = card(driver)
    return { ...made, hardware: { ...made.hardware, channels: parseChannels(text) } }
  }

  test('a driver that refuses them fails a config that insists on native mode', () => {
    const subject = withChannels('ena', ENA)
    expect(found(subject).get('queues')).toMatchObject({ level: 'fail', fix: 'ethtool -L eth0 combined 4' })
    expect(found(subject, ['native', 'generic']).get('queues')?.level).toBe('warn')
    expect(found(subject, ['generic']).has('queues')).toBe(false)
  })

  test('a lock for transmitting matters to services only', () => {
    const subject = withChannels('virtio_net', ENA)
    expect(found(subject).get('queues')).toMatchObject({ level: 'ok' })
    expect(found(subject, NATIVE, true).get('queues')?.level).toBe('warn')
  })

  test('receive queues that could be used are reported in every mode', () => {
    const subject = withChannels('ice', ENA.replace(/8\n$/, '2\n'))
    for (const wanted of [NATIVE, ['generic'] as const, undefined])
      expect(found(subject, wanted).get('spread')).toMatchObject({ level: 'warn', fix: 'ethtool -L eth0 combined 8' })
  })
})

test('virtual functions of ixgbe rule native XDP out', () => {
  expect(found(card('ixgbe', { virtualFunctions: 2 })).get('sriov')).toMatchObject({
    level: 'fail',
    fix: 'echo 0 > /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs',
  })
  expect(found(card('ice', { virtualFunctions: 2 })).has('sriov')).toBe(false)
})

test('queues whose interrupts reach one processor are reported', () => {
  const interrupts = [0, 1, 2, 3].map((n) => ({ irq: 40 + n, name: `eth0-TxRx-${n}`, processors: [0] }))
  expect(found(card('igb', { interrupts })).get('spread')?.fix).toContain('echo 1 > /proc/irq/41/smp_affinity_list')
})

describe('reading', () => {
  let root = ''
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'xdp-device-'))
  })
  afterEach(() => rmSync(root, { recursive: true }))
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }

  test('interrupts go by the place on the bus, and by where they arrive now', async () => {
    put('sys/bus/pci/devices/0000:03:00.0/sriov_numvfs', '4\n')
    for (const irq of [40, 41, 42]) put(`sys/bus/pci/devices/0000:03:00.0/msi_irqs/${irq}`, 'msix\n')
    put(
      'proc/interrupts',
      '      CPU0 CPU1\n 40: 1 2 PCI-MSI 0-edge eth0-TxRx-0\n 41: 1 2 PCI-MSI 1-edge eth0-TxRx-1\n',
    )
    put('proc/irq/40/smp_affinity_list', '0-1\n')
    put('proc/irq/40/effective_affinity_list', '1\n')
    put('proc/irq/41/smp_affinity_list', '0-1\n')
    expect(await readDevice('0000:03:00.0', root)).toEqual({
      interrupts: [
        { irq: 40, name: 'eth0-TxRx-0', processors: [1] },
        { irq: 41, name: 'eth0-TxRx-1', processors: [0, 1] },
      ],
      virtualFunctions: 4,
    })
  })

  test('facts that the kernel does not state are empty, and a bus that is a path is not followed', async () => {
    expect(await readDevice('0000:03:00.0', root)).toEqual({ interrupts: [], virtualFunctions: 0 })
    put('sys/bus/pci/devices/x/sriov_numvfs', '4\n')
    for (const bus of [undefined, '..', '../devices/x']) expect((await readDevice(bus, root)).virtualFunctions).toBe(0)
    expect(await readProcessors(root)).toEqual({ possible: 1, online: [0] })
    put('sys/devices/system/cpu/possible', '0-127\n')
    put('sys/devices/system/cpu/online', '0-3,6\n')
    expect(await readProcessors(root)).toEqual({ possible: 128, online: [0, 1, 2, 3, 6] })
  })

  test('ethtool -i names the place on the bus', () => {
    expect(parseBus('driver: virtio_net\nbus-info: 0000:00:03.0\nsupports-statistics: yes\n')).toBe('0000:00:03.0')
    expect(parseBus('driver: veth\nbus-info: \n')).toBeUndefined()
  })
})
