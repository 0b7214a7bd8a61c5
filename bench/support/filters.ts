// Filters to measure in a flood: ours, the least a filter can do, and other tools.
//
// A filter is prepared once, and then takes turns with another one. XDP programs stay loaded between turns and are
// switched by attaching; rules of nftables and iptables stay, and see packets while no XDP program is attached.

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dotted, lines } from './addresses.ts'
import type { Destination, FloodHost, Sources } from './flood.ts'
import { type Host, sh, which } from './host.ts'

/** A program to attach for a turn; undefined: no program. */
export type Attachment = { readonly mode: 'xdpdrv' | 'xdpgeneric'; readonly pinned: string } | undefined

export interface Filter {
  readonly name: string
  /** Number of listed sources. */
  readonly listed: number
  readonly sources: Sources
  /** Whether the frames pass. */
  readonly passes: boolean
  /** Returns the program of its turns, which is not attached then. */
  prepare(): Attachment
  release(): void
}

/** Two filters that take turns on one flood. */
export interface Duel {
  readonly subject: Filter
  readonly reference: Filter
  readonly destination: Destination
}

const ZONE = 'bench'
const detach = (host: Host, mode: string): void => void host.in('bpftool', 'net', 'detach', mode, 'dev', host.device)

/** Attaches a program in place of another. */
export function switchTo(host: Host, from: Attachment, to: Attachment): void {
  if (from && from.mode !== to?.mode) detach(host, from.mode)
  if (to) host.in('bpftool', 'net', 'attach', to.mode, 'pinned', to.pinned, 'dev', host.device, 'overwrite')
}

/** Why a tool cannot be used here; undefined: it can. */
function refusal(tool: string, probe: () => void): string | undefined {
  if (!which(tool)) return `${tool} is not installed`
  try {
    probe()
    return undefined
  } catch (error) {
    const words = ((error as { stderr?: string }).stderr ?? `${error}`).trim().split('\n')[0]
    return `${tool} does not work here: ${words}`
  }
}

/** The sources that a list of `count` addresses holds. */
const listed = (count: number): Sources => ({ first: 0, count })

/** The makers of filters; `sources` are the listed ones unless stated. */
function makers(host: Host, addresses: Uint32Array) {
  const pinned = (name: string, program: string, sources: Sources, passes = false): Filter => ({
    name,
    listed: 0,
    sources,
    passes,
    prepare: () => ({ mode: 'xdpdrv', pinned: program }),
    release: () => {},
  })

  function own(count: number, sources = listed(count), mode: 'native' | 'generic' = 'native'): Filter {
    const attached = mode === 'native' ? 'xdpdrv' : 'xdpgeneric'
    const run = (...args: readonly string[]): string => {
      const [file, ...rest] = host.xdp(...args) as [string, ...string[]]
      return sh(file, ...rest)
    }
    let attachment: Attachment
    return {
      name: mode === 'native' ? 'xdp' : 'xdp, mode generic',
      listed: count,
      sources,
      passes: sources.first > 0,
      prepare() {
        host.write('list.txt', lines(addresses.subarray(0, count), dotted))
        const list = 'blocklist:\n  - { name: feed, file: list.txt, exclude_private: false }\n'
        const file = host.write('xdp.yaml', `version: 1\ninterfaces:\n  ${host.device}: { mode: ${mode} }\n${list}`)
        run('apply', '-f', file, '--auto-approve')
        const instance = `${host.bpffs}/xdp-as-code/default`
        const generation = readdirSync(instance).find((name) => name.startsWith('gen-'))
        attachment = { mode: attached, pinned: `${instance}/${generation}/programs/xdp_filter` }
        detach(host, attached)
        return attachment
      },
      release() {
        switchTo(host, undefined, attachment)
        run('destroy', '--auto-approve')
      },
    }
  }

  /** xdp-filter pins below /sys/fs/bpf; a mount namespace replaces that by a directory of our bpffs. */
  function xdpFilter(count: number, sources = listed(count)): Filter {
    const root = `${host.bpffs}/others`
    const inside = (...argv: readonly string[]): void =>
      void host.in('unshare', '--mount', 'sh', '-c', `mount --bind ${root} /sys/fs/bpf && exec "$@"`, 'sh', ...argv)
    const program = `${host.bpffs}/xdp_filter_program`
    return {
      name: 'xdp-filter',
      listed: count,
      sources,
      passes: sources.first > 0,
      prepare() {
        mkdirSync(root, { recursive: true })
        inside('xdp-filter', 'load', '-f', 'ipv4', '-p', 'allow', '-m', 'native', host.device)
        // Equals `xdp-filter ip -m src ADDRESS`, without a process for each.
        const update = (address: number): string =>
          `map update pinned ${root}/xdp-filter/filter_ipv4 key ${dotted(address, ' ')} value 1 0 0 0 0 0 0 0`
        sh('bpftool', 'batch', 'file', host.write('flood.batch', lines(addresses.subarray(0, count), update)))
        const [link] = JSON.parse(sh('ip', '-n', host.netns, '-j', '-d', 'link', 'show', 'dev', host.device)) as [
          { xdp: { prog: { id: number } } },
        ]
        sh('bpftool', 'prog', 'pin', 'id', `${link.xdp.prog.id}`, program)
        detach(host, 'xdpdrv')
        return { mode: 'xdpdrv', pinned: program }
      },
      release() {
        rmSync(program, { force: true })
        rmSync(root, { recursive: true, force: true })
      },
    }
  }

  /** A rule for a single source, a set for more. */
  function nft(name: string, count: number, chain: string, family: 'netdev' | 'ip'): Filter {
    return {
      name,
      listed: count,
      sources: listed(count),
      passes: false,
      prepare() {
        const elements = lines(addresses.subarray(0, count), (address) => `${dotted(address)},`)
        const set = count > 1 ? `set feed { type ipv4_addr; elements = {\n${elements}}; };` : ''
        const match = count > 1 ? '@feed' : dotted(addresses[0] as number)
        const rules = `chain c { type filter ${chain}; ip saddr ${match} drop; };`
        host.in('nft', '-f', host.write('flood.nft', `table ${family} ${ZONE} { ${set} ${rules} }\n`))
        return undefined
      },
      release: () => void host.in('nft', 'delete', 'table', family, ZONE),
    }
  }

  function iptables(count: number): Filter {
    const match = count > 1 ? ['-m', 'set', '--match-set', ZONE, 'src'] : ['-s', dotted(addresses[0] as number)]
    return {
      name: count > 1 ? 'iptables raw, ipset' : 'iptables raw rule',
      listed: count,
      sources: listed(count),
      passes: false,
      prepare() {
        if (count > 1) {
          const add = lines(addresses.subarray(0, count), (address) => `add ${ZONE} ${dotted(address)}`)
          const text = `create ${ZONE} hash:ip maxelem ${count}\n${add}`
          host.in('ipset', 'restore', '-f', host.write('flood.ipset', text))
        }
        host.in('iptables', '-w', '-t', 'raw', '-A', 'PREROUTING', ...match, '-j', 'DROP')
        return undefined
      },
      release() {
        host.in('iptables', '-w', '-t', 'raw', '-F')
        // The rule's RCU callback releases its reference to the set.
        if (count > 1)
          host.in('sh', '-c', `for i in 1 2 3 4 5; do ipset destroy ${ZONE} && exit; sleep 0.2; done; exit 1`)
      },
    }
  }
  return { pinned, own, xdpFilter, nft, iptables }
}

export interface Duels {
  readonly usable: readonly Duel[]
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
}

/** Addresses beyond the largest list, from which no filter drops. */
export const UNLISTED = 10_000

/** The duels that are possible here. `all`: also slower kinds of filters. */
export function makeDuels(host: Host, addresses: Uint32Array, { baselines }: FloodHost, all: boolean): Duels {
  const most = addresses.length - UNLISTED
  const unlisted = { first: most, count: UNLISTED }
  const { pinned, own, xdpFilter, nft, iptables } = makers(host, addresses)
  const usable: Duel[] = []
  const skipped: { name: string; reason: string }[] = []
  const dropping = (subject: Filter, reference?: Filter): Duel => ({
    subject,
    reference: reference ?? pinned('reads the headers, drops', baselines.drop, subject.sources),
    destination: 'here',
  })
  const passing = (subject: Filter, reference?: Filter): Duel => ({
    subject,
    reference: reference ?? pinned('reads the headers, passes', baselines.pass, subject.sources, true),
    destination: 'another-host',
  })
  const offer = (name: string, reason: string | undefined, ...duels: readonly Duel[]): void => {
    if (reason) skipped.push({ name, reason })
    else usable.push(...duels)
  }
  usable.push(
    dropping(pinned('drops, reads nothing', baselines.bare, listed(1))),
    ...[1, 10, 10_000, most].map((count) => dropping(own(count))),
    ...[10, 10_000, most].map((count) => passing(own(count, unlisted))),
  )
  const refusesXdpFilter = refusal('xdp-filter', () => {
    const trial = xdpFilter(1)
    trial.prepare()
    trial.release()
  })
  offer(
    'xdp-filter',
    refusesXdpFilter,
    ...[1, 10, 10_000].map((count) => dropping(own(count), xdpFilter(count))),
    passing(own(10_000, unlisted), xdpFilter(10_000, unlisted)),
    ...[1, 10_000].map((count) => dropping(xdpFilter(count))),
  )
  if (!all) return { usable, skipped }
  usable.push(dropping(own(10_000, listed(10_000), 'generic')))
  const ingress = `hook ingress device ${host.device} priority -500`
  const prerouting = 'hook prerouting priority raw'
  offer(
    'nftables',
    refusal('nft', () => host.in('nft', 'list', 'tables')),
    dropping(nft('nft ingress rule', 1, ingress, 'netdev')),
    dropping(nft('nft ingress set', 10_000, ingress, 'netdev')),
    dropping(nft('nft ingress set', most, ingress, 'netdev')),
    dropping(nft('nft prerouting rule', 1, prerouting, 'ip')),
    dropping(nft('nft prerouting set', 10_000, prerouting, 'ip')),
  )
  const noIptables = refusal('iptables', () => host.in('iptables', '-w', '-t', 'raw', '-L', '-n'))
  offer('iptables', noIptables, dropping(iptables(1)))
  offer(
    'ipset',
    noIptables ?? refusal('ipset', () => host.in('ipset', 'list', '-n')),
    dropping(iptables(10_000)),
    dropping(iptables(most)),
  )
  return { usable, skipped }
}
