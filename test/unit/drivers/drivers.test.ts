// The table of drivers, and judgements that follow from it.
import { describe, expect, test } from 'vitest'
import { BOARDS } from '../../../src/drivers/boards.ts'
import { CARDS } from '../../../src/drivers/cards.ts'
import { parseCpuList, parseInterruptNames, spreadProblem } from '../../../src/drivers/interrupts.ts'
import { mtuLimit, withoutNative } from '../../../src/drivers/native.ts'
import { type Channels, type QueueFacts, queueProblem, unusedQueues } from '../../../src/drivers/queues.ts'
import { DRIVERS, driverNamed } from '../../../src/drivers/table.ts'
import { VIRTUAL } from '../../../src/drivers/virtual.ts'

describe('the table', () => {
  test('names every driver once, each with a file of Linux, and a commit for each first release', () => {
    const parts = [CARDS, BOARDS, VIRTUAL].flatMap((part) => Object.keys(part))
    expect(parts.toSorted()).toEqual(Object.keys(DRIVERS).toSorted())
    for (const [name, driver] of Object.entries(DRIVERS)) {
      expect(driver.source, name).toMatch(/^[\w/-]+\.c$/)
      for (const since of [driver.native, driver.frags]) {
        if (since) expect(since.commit, name).toMatch(/^[0-9a-f]{12}$/)
      }
    }
  })

  test('a driver without native XDP has no other fact', () => {
    const without = Object.values(DRIVERS).filter(({ native }) => !native)
    expect(without.length).toBeGreaterThan(10)
    for (const driver of without) expect(Object.keys(driver).toSorted()).toEqual(['drives', 'source'])
  })

  test('a driver that is named like a property of objects is unknown', () => {
    expect(driverNamed('constructor')).toBeUndefined()
    expect(withoutNative('toString', [6, 1])).toBeUndefined()
  })
})

test.each([
  ['gve', [6, 1], 'since Linux 6.4'],
  ['gve', [6, 4], undefined],
  ['r8169', [6, 18], 'has no native XDP'],
  ['r8169', undefined, 'has no native XDP'],
  ['gve', undefined, undefined],
  ['fnord', [6, 1], undefined],
] as const)('native XDP of %s on Linux %j: %s', (driver, kernel, why) => {
  const found = withoutNative(driver, kernel)
  if (why === undefined) expect(found).toBeUndefined()
  else expect(found).toContain(why)
})

test.each([
  ['ice', [6, 1], 3046],
  ['ice', [6, 3], undefined],
  ['ena', [6, 18], 3498],
  ['tsnep', [6, 18], undefined],
  [undefined, [6, 18], undefined],
] as const)('the MTU of %s on Linux %j is at most %s', (driver, kernel, limit) => {
  expect(mtuLimit(driver, kernel)).toBe(limit)
})

const channels = (rx?: number, tx?: number, combined?: number): Channels => ({ rx, tx, combined })

function facts(driver: string, max: Channels, now: Channels, own: Partial<QueueFacts> = {}): QueueFacts {
  return { interface: 'eth0', driver, channels: { max, now }, txQueues: 8, processors: 8, ...own }
}

describe('queues', () => {
  test.each([
    [
      'ena above half',
      facts('ena', channels(undefined, undefined, 8), channels(undefined, undefined, 8)),
      'combined 4',
    ],
    ['ena at half', facts('ena', channels(undefined, undefined, 8), channels(undefined, undefined, 4)), undefined],
    ['gve above half', facts('gve', channels(16, 16), channels(16, 16)), 'rx 8 tx 8'],
    ['gve with unequal numbers', facts('gve', channels(16, 16), channels(4, 8)), 'rx 4 tx 4'],
    ['gve at half', facts('gve', channels(16, 16), channels(8, 8)), undefined],
    ['bnxt with separate channels', facts('bnxt_en', channels(8, 8, 8), channels(4, 4, 0)), 'rx 0 tx 0 combined 4'],
    ['bnxt with combined channels', facts('bnxt_en', channels(8, 8, 8), channels(0, 0, 8)), undefined],
    ['nicvf above the sum', facts('nicvf', channels(16, 16), channels(10, 8)), 'rx 8 tx 8'],
    ['nicvf at the sum', facts('nicvf', channels(16, 16), channels(8, 8)), undefined],
    ['a driver without a rule', facts('ice', channels(), channels()), undefined],
  ])('%s', (_, given, fix) => {
    const problem = queueProblem(given)
    if (fix === undefined) expect(problem).toBeUndefined()
    else expect(problem).toMatchObject({ refuses: true, fix: `ethtool -L eth0 ${fix}` })
  })

  test('virtio_net transmits under a lock without a spare queue for each processor', () => {
    const virtio = (most: number, now: number) =>
      queueProblem(facts('virtio_net', channels(undefined, undefined, most), channels(undefined, undefined, now)))
    expect(virtio(16, 8)).toBeUndefined()
    expect(virtio(12, 8)).toMatchObject({ refuses: false, fix: 'ethtool -L eth0 combined 4' })
    expect(virtio(1, 1)?.fix).toContain('16 queues in the hypervisor')
  })

  test('mvpp2 needs two transmit queues for each processor', () => {
    const mvpp2 = (txQueues: number) =>
      queueProblem(facts('mvpp2', channels(), channels(), { txQueues, processors: 4 }))
    expect([mvpp2(8), mvpp2(0)]).toEqual([undefined, undefined])
    expect(mvpp2(4)?.refuses).toBe(true)
  })

  test('ixgbe shares queues above 64 processors, and refuses above 128', () => {
    const ixgbe = (processors: number) => queueProblem(facts('ixgbe', channels(), channels(), { processors }))?.refuses
    expect([64, 65, 128, 129].map(ixgbe)).toEqual([undefined, false, false, true])
  })

  test.each([
    ['all in use', facts('ice', channels(16, 16, 16), channels(0, 0, 8)), undefined],
    ['one of many', facts('ice', channels(16, 16, 16), channels(0, 0, 1)), 'combined 8'],
    ['fewer than processors, but no more', facts('igb', channels(2, 2, 4), channels(0, 0, 4)), undefined],
    [
      'half of what ena has',
      facts('ena', channels(undefined, undefined, 8), channels(undefined, undefined, 4)),
      undefined,
    ],
    ['less than half of gve', facts('gve', channels(16, 16), channels(2, 2)), 'rx 8 tx 8'],
    ['receive queues of their own', facts('mvneta', channels(8, 8), channels(2, 2)), 'rx 8'],
    [
      'spare ones of virtio_net',
      facts('virtio_net', channels(undefined, undefined, 10), channels(undefined, undefined, 2)),
      undefined,
    ],
    ['unknown', facts('fnord', channels(), channels()), undefined],
  ])('unused receive queues: %s', (_, given, fix) => {
    expect(unusedQueues(given)?.fix).toBe(fix === undefined ? undefined : `ethtool -L eth0 ${fix}`)
  })
})

describe('interrupts', () => {
  const INTERRUPTS = `           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 37:          0          0 PCI-MSIX-0000:00:03.0   0-edge      virtio2-config
 38:          0      65377 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0
 39:      48231          0 PCI-MSIX-0000:00:03.0   2-edge      virtio2-output.0
NMI:          0          0   Non-maskable interrupts
`

  test('their names are the last words of the lines with numbers', () => {
    expect([...parseInterruptNames(INTERRUPTS)]).toEqual([
      [24, 'ACPI:Ged'],
      [37, 'virtio2-config'],
      [38, 'virtio2-input.0'],
      [39, 'virtio2-output.0'],
    ])
  })

  test.each([
    ['0-3,8', [0, 1, 2, 3, 8]],
    ['5\n', [5]],
    ['', []],
    ['fnord', []],
  ])('the processors of %j', (text, processors) => {
    expect(parseCpuList(text)).toEqual(processors)
  })

  const spread = (names: readonly string[], ...reach: readonly number[][]) =>
    spreadProblem(
      names.map((name, i) => ({ irq: 30 + i, name, processors: reach[i % reach.length] ?? [] })),
      [0, 1, 2, 3],
    )
  const NAMES = ['eth0-TxRx-0', 'eth0-TxRx-1', 'eth0-TxRx-2', 'eth0-TxRx-3']

  test('of queues that reach one processor are reported, with a command for each', () => {
    expect(spread(NAMES, [0])).toEqual({
      why: 'the interrupts of 4 receive queues reach only processor 0 of 4',
      fix: [0, 1, 2, 3].map((n) => `echo ${n} > /proc/irq/${30 + n}/smp_affinity_list`).join('; '),
    })
    expect(spread(NAMES, [0], [1])?.why).toContain('processors 0, 1 of 4')
  })

  test('of queues that reach a processor each, of one queue, and of other things are not', () => {
    expect(spread(NAMES, [0], [1], [2], [3])).toBeUndefined()
    expect(spread(NAMES, [0, 1, 2, 3])).toBeUndefined()
    expect(spread(NAMES.slice(0, 1), [0])).toBeUndefined()
    const others = ['virtio2-config', 'virtio2-output.0', 'mlx5_async0@pci:0000:03:00.0', 'ena-mgmnt@pci:0000:00:05.0']
    expect(spread([...others, 'eth0-tx-1', 'eth0-event-4', 'i40e-0000:01:00.0:misc'], [0])).toBeUndefined()
  })

  test('names of receive queues are known for what they are, whatever the interface is called', () => {
    const receiving = [
      'uplink-TxRx-0',
      'mlx5_comp0@pci:0000:03:00.0',
      'virtio2-input.0',
      'eth0-Tx-Rx-1',
      'gve-ntfy-blk0@pci:0',
    ]
    expect(spread(receiving, [0])?.why).toContain('of 5 receive queues')
  })
})
