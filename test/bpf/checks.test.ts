// Packets of health checks through VIPs: those to backends are those of clients, byte for byte, and answers from a VIP to
// an address and port of checks go to them, and no other packet does.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bpftool, hexBytes, updateCommand } from '../../src/abi/command.ts'
import {
  CHECK_FIRST_PORT,
  CHECK_PORTS_A_WAY,
  CHECK_WAYS,
  checkDeviceCodec,
  checkWayCodec,
} from '../../src/abi/generated.ts'
import { arrayMap, mapWords } from '../../src/abi/paths.ts'
import type { Forwarding } from '../../src/features/forwarding/forwarding.ts'
import { encodeWay } from '../../src/kernel/live/check-path.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { loadObject } from '../../src/kernel/tools/object.ts'
import type { Backend, Service } from '../../src/model/service.ts'
import { addressBytes } from '../../src/tables/services/service-lines.ts'
import { DataPlane, TEST_IFINDEX } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { EXPECTED, networkPlace } from '../support/forwarding.ts'
import { ethernet, fragment, icmp, ipv4, ipv6, type Layer, packet, raw, tcp, udp, vlan } from '../support/packets.ts'
import { address, backend, balancing, EGRESS, service } from '../support/services.ts'

const DROP = 1
const REDIRECT = 4
const VIP = { 4: '192.0.2.10', 6: '2001:db8:f::10' } as const
const OWN = { 4: '10.0.0.1', 6: 'fd00::1' } as const
const BACKEND = { 4: '10.0.0.11', 6: 'fd00::11' } as const
const FAMILIES = [4, 6] as const
const ip = (family: 4 | 6, source: string, destination: string): Layer =>
  family === 4 ? ipv4({ source, destination }) : ipv6({ source, destination })

describe('packets to backends', () => {
  const ways = arrayMap('check_ways', checkWayCodec.size, CHECK_WAYS)
  const modes: readonly Forwarding[] = ['dsr', 'ipip', 'gue']
  /** Every mode and both families of VIP and backend, and DSR in a VLAN. */
  const cases = modes.flatMap((forwarding) =>
    FAMILIES.flatMap((vip) =>
      FAMILIES.filter((own) => forwarding !== 'dsr' || own === vip).flatMap((own) =>
        [0, 7].map((tag) => ({
          name: `${forwarding}, IPv${vip} to IPv${own}, VLAN ${tag}`,
          forwarding,
          vip,
          own,
          tag,
        })),
      ),
    ),
  )
  const wayOf = ({ forwarding, vip, own, tag }: (typeof cases)[number]): { service: Service; backend: Backend } => ({
    service: service('web', `${VIP[vip]} 80`, { forwarding }),
    backend: backend(BACKEND[own], { nextHop: { ...EGRESS, vlan: tag } }),
  })
  let directory: string

  beforeAll(async () => {
    directory = mkdtempSync('/dev/shm/xdp-check-')
    mkdirSync(join(directory, 'bpffs'))
    execFileSync('mount', ['-t', 'bpf', 'bpf', join(directory, 'bpffs')])
    const pin = join(directory, 'bpffs/ways')
    await runBatch([
      bpftool('map', 'create', pin, ...mapWords(ways)),
      ...cases.map((one, number) => updateCommand(pin, number, encodeWay(wayOf(one)))),
    ])
    const { checkPath } = await loadObject()
    const programs = join(directory, 'bpffs/programs')
    await runBpftool('prog', 'loadall', checkPath, programs, 'map', 'name', ways.name, 'pinned', pin)
  })
  afterAll(() => {
    execFileSync('umount', [join(directory, 'bpffs')])
    rmSync(directory, { recursive: true })
  })

  async function run(frame: Uint8Array): Promise<{ readonly verdict: number; readonly output: Uint8Array }> {
    writeFileSync(join(directory, 'frame'), frame)
    const [output] = (await runBatch([
      bpftool(
        ...['prog', 'run', 'pinned', join(directory, 'bpffs/programs/xdp_check'), 'data_in', join(directory, 'frame')],
        ...['data_out', '-', 'data_size_out', '2048', 'repeat', '1'],
      ),
    ])) as [{ retval: number; data_out: string[] }]
    return { verdict: output.retval, output: Uint8Array.from(output.data_out, Number) }
  }

  test.each(cases.map((one, number) => ({ ...one, number })))('$name', async ({ number, ...one }) => {
    const way = wayOf(one)
    for (let turn = 0; turn < CHECK_PORTS_A_WAY; turn++) {
      const ports = { source: CHECK_FIRST_PORT + number * CHECK_PORTS_A_WAY + turn, destination: 80 }
      // Payloads of every remainder modulo 4, as the checksum is computed by words.
      for (const transport of [tcp(ports), udp(ports)]) {
        const whole = seal(packet(ethernet(), ip(one.vip, OWN[one.vip], VIP[one.vip]), transport, raw(40 + turn)))
        // The kernel leaves the checksum to the device.
        const partial = whole.slice()
        const { transport: at, protocol } = networkPlace(whole)
        partial.set([0xab, 0xcd], at + (protocol === 17 ? 6 : 16))
        const { verdict, output } = await run(partial)
        expect(verdict).toBe(REDIRECT)
        expect(output).toEqual(EXPECTED[one.forwarding].sent(whole, way.service, way.backend))
        expect(wrongChecksums(output)).toEqual([])
      }
    }
  })

  test('nothing else leaves the namespace of checks', async () => {
    const first = CHECK_FIRST_PORT
    const direct = (source: number, destination: string = VIP[4], last: Layer = tcp({ source, destination: 80 })) =>
      packet(ethernet(), ip(4, OWN[4], destination), last, raw(10))
    const frames = [
      direct(first - 1),
      direct(40_000),
      // No backend has this port.
      direct(first + CHECK_WAYS * CHECK_PORTS_A_WAY - 1),
      direct(first + CHECK_WAYS * CHECK_PORTS_A_WAY),
      direct(first, '192.0.2.11'),
      direct(first, VIP[4], icmp(8)),
      packet(ethernet(), ip(6, OWN[6], VIP[6]), tcp({ source: first, destination: 80 })),
      packet(ethernet(), vlan(3), ip(4, OWN[4], VIP[4]), tcp({ source: first, destination: 80 })),
      direct(first).subarray(0, 34),
    ]
    for (const frame of frames) expect((await run(frame)).verdict).toBe(DROP)
    expect((await run(direct(first))).verdict).toBe(REDIRECT)
  })
})

describe('answers', () => {
  let plane: DataPlane
  /** Writes the sources of checks; 0: on any interface. */
  async function answersArriveOn(from: number): Promise<void> {
    const value = new Uint8Array(checkDeviceCodec.size)
    checkDeviceCodec.encode({ ifindex: TEST_IFINDEX, from }, new DataView(value.buffer))
    await runBatch(
      FAMILIES.map((family) =>
        bpftool(
          ...['map', 'update', 'pinned', plane.map('check_sources'), 'key', 'hex'],
          ...[...hexBytes(addressBytes(address(OWN[family]))), 'value', 'hex', ...hexBytes(value)],
        ),
      ),
    )
  }
  const CHECKS = 'redirect check-answer'
  const PASSED = 'pass default-pass'

  beforeAll(async () => {
    plane = await DataPlane.open()
    await plane.loadState(
      balancing([
        ...FAMILIES.map((family) =>
          service(`web${family}`, `${VIP[family]} 80`, { forwarding: 'dsr', backends: [backend(BACKEND[family])] }),
        ),
        service('nat', '192.0.2.20 80', { backends: [backend('10.0.0.12 8080')] }),
      ]),
    )
    await answersArriveOn(0)
  })
  afterAll(() => plane.close())

  const verdictOf = async (...layers: readonly Layer[]): Promise<string> => {
    const [outcome] = await plane.run([{ frame: packet(ethernet(), ...layers) }])
    return `${outcome?.verdict} ${outcome?.explanation?.reason}`
  }
  const to = (destination: number, source = 80): Layer => tcp({ source, destination })
  const LAST = CHECK_FIRST_PORT + CHECK_WAYS * CHECK_PORTS_A_WAY - 1

  test.each(FAMILIES)('of IPv%i go to the checks, whatever the port of the VIP, tagged or not', async (family) => {
    const answer = ip(family, VIP[family], OWN[family])
    expect(await verdictOf(answer, to(CHECK_FIRST_PORT))).toBe(CHECKS)
    expect(await verdictOf(answer, to(LAST, 8443))).toBe(CHECKS)
    expect(await verdictOf(answer, udp({ source: 53, destination: LAST }))).toBe(CHECKS)
    expect(await verdictOf(vlan(9), answer, to(LAST))).toBe(CHECKS)
  })

  test.each(FAMILIES)('of IPv%i count only on the interface that the route to the backend leads to', async (family) => {
    const layers = [ip(family, VIP[family], OWN[family]), to(LAST)] as const
    await answersArriveOn(EGRESS.ifindex)
    expect(await verdictOf(...layers)).toBe(PASSED)
    await answersArriveOn(TEST_IFINDEX)
    expect(await verdictOf(...layers)).toBe(CHECKS)
    await answersArriveOn(0)
  })

  test.each(FAMILIES)('of IPv%i arrive unchanged behind another Ethernet header', async (family) => {
    const frame = packet(ethernet(), vlan(9), ip(family, VIP[family], OWN[family]), to(LAST), raw(17))
    const [outcome] = await plane.run([{ frame }], 'filter')
    const type = family === 4 ? '0800' : '86dd'
    expect(Buffer.from(outcome?.output.subarray(0, 14) ?? []).toString('hex')).toBe(`027864700001027864700000${type}`)
    expect(outcome?.output.subarray(14)).toEqual(frame.subarray(18))
  })

  test.each([
    ['to the port below', ip(4, VIP[4], OWN[4]), to(CHECK_FIRST_PORT - 1)],
    ['to the port above', ip(4, VIP[4], OWN[4]), to(LAST + 1)],
    ['to another address', ip(4, VIP[4], '10.0.0.2'), to(LAST)],
    ['from another address', ip(4, '192.0.2.11', OWN[4]), to(LAST)],
    ['from the address of a backend', ip(4, BACKEND[4], OWN[4]), to(LAST)],
    ['without ports', ip(4, VIP[4], OWN[4]), icmp(3)],
    ['of IPv6 to another address', ip(6, VIP[6], 'fd00::2'), to(LAST)],
  ])('packets %s are none', async (_, ...layers) => {
    expect(await verdictOf(...layers)).toBe(PASSED)
  })

  test('a fragment is none', async () => {
    const first = packet(
      ethernet(),
      ipv6({ source: VIP[6], destination: OWN[6] }),
      fragment({ offset: 0, more: true }),
      to(LAST),
    )
    const [outcome] = await plane.run([{ frame: first }])
    expect(outcome?.explanation?.reason).toBe('default-pass')
  })

  test('a client at such a port is served by its service', async () => {
    expect(await verdictOf(ip(4, '198.51.100.7', VIP[4]), tcp({ source: LAST, destination: 80 }))).toMatch(
      /^redirect balanced/,
    )
  })
})
