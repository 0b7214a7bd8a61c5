// The veth between this namespace and that of health checks through VIPs, with the programs on both ends. It ends with the
// namespace of the checks; the pins and the entries of `check_sources` stay if the daemon is killed, until clearChecks.

import { createHash } from 'node:crypto'
import { entriesOf, list, optional, record, text } from '../../abi/answer.ts'
import { bpftool, hexBytes, quiet } from '../../abi/command.ts'
import { CHECK_WAYS, checkWayCodec } from '../../abi/generated.ts'
import { arrayMap, mapWords, pinPaths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import { HEALTH } from '../../features/health.ts'
import { type CheckProcess, checkDevice, runInNamespace } from '../host/check-process.ts'
import type { Host } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { askBatch, runParts } from '../tools/bpftool.ts'
import { askIp, runIpBatch } from '../tools/ip.ts'
import { loadObject } from '../tools/object.ts'
import { makeDirectory, removePins } from '../tools/pins.ts'
import { place } from '../tools/place.ts'

type Instance = Pick<Host, 'bpffs' | 'instance'>

/** Name of the end of the veth in the namespace of the checks. */
const INNER = 'check'
/** MAC addresses of both ends; answer_check in bpf/include/check_answer.h writes them too. */
const OUTER_MAC = '02:78:64:70:00:00'
const CHECK_MAC = '02:78:64:70:00:01'
/** Largest packet of a check, the minimum of IPv6 (RFC 8200 §5): with every encapsulation it fits into 1,348 bytes. */
const SENT_MTU = 1280
/** Largest packet of an answer: what an Ethernet carries. */
const MTU = 1500
/** Digits of a device's name that come from the instance. */
const DIGITS = 8

/** See struct check_way. */
export const CHECK_WAYS_MAP = arrayMap('check_ways', checkWayCodec.size, CHECK_WAYS)

const named = list(record({ ifname: text, ifalias: optional(text) }))

/** By which a device is recognised as ours. */
const aliasOf = ({ instance }: Instance): string => `xdp-as-code/${instance}/checks`

/** Runs lines of ip. Throws E225 with the first that fails. */
async function runIp(lines: readonly string[]): Promise<void> {
  const results = await runIpBatch(lines)
  const failed = results.findIndex(({ error }) => error !== undefined)
  if (failed >= 0) throw fail('E225', `ip ${lines[failed]} failed: ${results[failed]?.error}`)
}

/** The name of the device. Removes one that the process of a killed daemon has left. Throws E225 if it is not ours. */
export async function freeDevice(host: Instance): Promise<string> {
  const digest = createHash('sha256').update(`${host.bpffs} ${host.instance}`).digest('hex')
  const device = checkDevice(digest.slice(0, DIGITS))
  const found = (await askIp(named, 'link', 'show')).find(({ ifname }) => ifname === device)
  if (!found) return device
  if (found.ifalias !== aliasOf(host)) {
    const hint = `ip link set ${device} name NAME, to rename it`
    throw fail('E225', `health checks through VIPs need the name ${device}, which another interface has`, hint)
  }
  // An error means that the kernel is removing it, with its namespace.
  await runIpBatch([`link del ${device}`])
  return device
}

/** Makes the veth and attaches the programs. Returns the ifindex of the end here. Throws XdpError. */
export async function connectDevice(host: Instance, device: string, process: CheckProcess): Promise<number> {
  const { checks } = pinPaths(host.bpffs, host.instance)
  await runIp([
    `link add ${device} address ${OUTER_MAC} mtu ${MTU} type veth peer name ${INNER} address ${CHECK_MAC} mtu ${MTU} netns ${process.pid}`,
    `link set ${device} alias ${aliasOf(host)} addrgenmode none up`,
  ])
  const inner = [
    'link set lo up',
    // The program looks at ports alone, so frames need no MAC address of a neighbour.
    `link set ${INNER} arp off up`,
    `route add default dev ${INNER} mtu ${SENT_MTU}`,
  ]
  await runInNamespace(process, 'ip', ['-batch', '-'], `${inner.join('\n')}\n`)
  // Fails where IPv6 is disabled; then there is no VIP of it.
  await runInNamespace(process, 'ip', ['-6', 'route', 'add', 'default', 'dev', INNER, 'mtu', `${SENT_MTU}`]).catch(
    () => undefined,
  )
  const { checkPath } = await loadObject()
  await place(checkPath)
  const [ways, programs] = [`${checks}/${CHECK_WAYS_MAP.name}`, `${checks}/programs`]
  await makeDirectory(checks, host.bpffs)
  await runParts(
    quiet(
      bpftool('map', 'create', ways, ...mapWords(CHECK_WAYS_MAP)),
      bpftool('prog', 'loadall', checkPath, programs, 'map', 'name', CHECK_WAYS_MAP.name, 'pinned', ways),
      bpftool('net', 'attach', 'xdpdrv', 'pinned', `${programs}/xdp_check`, 'dev', device),
    ),
  )
  const answer = ['net', 'attach', 'xdpdrv', 'pinned', `${programs}/xdp_check_answer`, 'dev', INNER]
  await runInNamespace(process, 'bpftool', answer)
  const ifindex = (await readLinks()).get(device)?.ifindex
  if (ifindex === undefined) throw fail('E225', `${device} does not exist, although ip has made it`)
  return ifindex
}

/** Removes the pins and sources, of this daemon or of one that was killed. */
export async function clearChecks(host: Instance): Promise<void> {
  const paths = pinPaths(host.bpffs, host.instance)
  await removePins(paths.checks)
  const { keySize, valueSize } = HEALTH.maps.checkSources
  const map = paths.sharedMap(HEALTH.maps.checkSources)
  // No map: the instance has been destroyed.
  const dump = await askBatch(entriesOf(keySize, valueSize), [bpftool('map', 'dump', 'pinned', map)]).catch(() => [])
  const keys = dump.flat().map(({ key }) => bpftool('map', 'delete', 'pinned', map, 'key', 'hex', ...hexBytes(key)))
  if (keys.length > 0) await runParts(quiet(...keys)).catch(() => undefined)
}
