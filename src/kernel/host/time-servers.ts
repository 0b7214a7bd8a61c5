// Reads the time servers in the configs of chrony, ntpd and systemd-timesyncd. Only addresses: a name may lead elsewhere at
// each start of the daemon. Connected sockets of these daemons are live connections, which are judged anyway.

import { readdir, readFile } from 'node:fs/promises'
import { isLoopback } from '../../model/address.ts'
import { parseAddress } from '../../model/text.ts'
import type { TimeServer } from '../../plan/partners.ts'
import { addressOf, unmapped } from './sockets.ts'

/** chrony.conf(5), the files of its `sourcedir` on Debian, and those that its DHCP hook writes. */
const CHRONY = ['/etc/chrony/chrony.conf', '/etc/chrony.conf', '/etc/chrony/sources.d', '/run/chrony-dhcp']
/** ntp.conf(5) of ntpd, ntpsec and openntpd's predecessor. Its packets come from port 123. */
const NTPD = ['/etc/ntp.conf', '/etc/ntpsec/ntp.conf']
/** timesyncd.conf(5), and servers of the network from networkd. */
const TIMESYNCD = ['/etc/systemd/timesyncd.conf', '/etc/systemd/timesyncd.conf.d', '/run/systemd/netif/state']

/** The addresses in directives `server`, `peer` and `pool` of chrony and ntpd. */
export const directiveServers = (content: string): string[] =>
  [...content.matchAll(/^[ \t]*(?:server|peer|pool)[ \t]+(?:-[46][ \t]+)?(\S+)/gim)].map(([, host = '']) => host)

/** The addresses in the lists `NTP=` and `FallbackNTP=`. */
export const listedServers = (content: string): string[] =>
  [...content.matchAll(/^[ \t]*(?:Fallback)?NTP=(.*)$/gm)].flatMap(([, hosts = '']) =>
    hosts.split(/\s+/).filter((host) => host !== ''),
  )

/** The text of a file, or of the files of a directory; empty if there is none. */
async function textOf(path: string): Promise<string> {
  try {
    const names = await readdir(path).catch(() => undefined)
    if (names === undefined) return await readFile(path, 'utf8')
    const texts = await Promise.all(names.sort().map((name) => readFile(`${path}/${name}`, 'utf8').catch(() => '')))
    return texts.join('\n')
  } catch {
    return ''
  }
}

async function readFrom(
  paths: readonly string[],
  find: (content: string) => string[],
  fromNtpPort: boolean,
): Promise<TimeServer[]> {
  const texts = await Promise.all(paths.map(textOf))
  return texts.flatMap(find).flatMap((host): TimeServer[] => {
    const parsed = parseAddress(host)
    const address = parsed && addressOf(unmapped(parsed.words))
    return address === undefined || isLoopback(address) ? [] : [{ address, fromNtpPort }]
  })
}

/** The servers of all of these daemons that are configured. */
export async function readTimeServers(): Promise<readonly TimeServer[]> {
  const found = await Promise.all([
    readFrom(CHRONY, directiveServers, false),
    readFrom(NTPD, directiveServers, true),
    readFrom(TIMESYNCD, listedServers, false),
  ])
  return found.flat()
}
