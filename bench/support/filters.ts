// Filters that drop a flood: ours, the cheapest possible program, and other tools.

import { mkdirSync, rmSync } from 'node:fs'
import { dotted, lines } from './addresses.ts'
import { type Host, sh, which } from './host.ts'

export interface Filter {
  readonly name: string
  /** Number of listed sources; the flood comes from exactly these. */
  readonly sources: number
  /** Whether it passes everything. */
  readonly passes?: boolean
  set(): void
  clear(): void
}

type Make = (name: string, sources: number) => Filter
const ZONE = 'bench'

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

function own(host: Host, addresses: Uint32Array, mode: 'native' | 'generic'): Make {
  const run = (...args: readonly string[]): void => {
    const [file, ...rest] = host.xdp(...args, '-f', `${host.directory}/xdp.yaml`) as [string, ...string[]]
    sh(file, ...rest)
  }
  return (name, sources) => ({
    name,
    sources,
    set() {
      host.write('list.txt', lines(addresses.subarray(0, sources), dotted))
      const list = 'blocklist:\n  - { name: feed, file: list.txt, exclude_private: false }\n'
      host.write('xdp.yaml', `version: 1\ninterfaces:\n  ${host.device}: { mode: ${mode} }\n${list}`)
      run('apply', '--auto-approve')
    },
    clear: () => sh(...(host.xdp('destroy', '--auto-approve') as [string, ...string[]])),
  })
}

function program(host: Host, pinned: string, mode: 'xdpdrv' | 'xdpgeneric'): Make {
  return (name, sources) => ({
    name,
    sources,
    set: () => void host.in('bpftool', 'net', 'attach', mode, 'pinned', pinned, 'dev', host.device),
    clear: () => void host.in('bpftool', 'net', 'detach', mode, 'dev', host.device),
  })
}

/** A rule for a single source, a set for more. */
function nft(host: Host, addresses: Uint32Array, chain: string, family: 'netdev' | 'ip'): Make {
  return (name, sources) => ({
    name,
    sources,
    set() {
      const elements = lines(addresses.subarray(0, sources), (address) => `${dotted(address)},`)
      const set = sources > 1 ? `set feed { type ipv4_addr; elements = {\n${elements}}; };` : ''
      const match = sources > 1 ? '@feed' : dotted(addresses[0] as number)
      const rules = `chain c { type filter ${chain}; ip saddr ${match} drop; };`
      host.in('nft', '-f', host.write('flood.nft', `table ${family} ${ZONE} { ${set} ${rules} }\n`))
    },
    clear: () => void host.in('nft', 'delete', 'table', family, ZONE),
  })
}

function iptables(host: Host, addresses: Uint32Array): Make {
  return (name, sources) => {
    const match = sources > 1 ? ['-m', 'set', '--match-set', ZONE, 'src'] : ['-s', dotted(addresses[0] as number)]
    return {
      name,
      sources,
      set() {
        if (sources > 1) {
          const add = lines(addresses.subarray(0, sources), (address) => `add ${ZONE} ${dotted(address)}`)
          const text = `create ${ZONE} hash:ip maxelem ${sources}\n${add}`
          host.in('ipset', 'restore', '-f', host.write('flood.ipset', text))
        }
        host.in('iptables', '-w', '-t', 'raw', '-A', 'PREROUTING', ...match, '-j', 'DROP')
      },
      clear() {
        host.in('iptables', '-w', '-t', 'raw', '-F')
        // The rule's RCU callback releases its reference to the set.
        if (sources > 1)
          host.in('sh', '-c', `for i in 1 2 3 4 5; do ipset destroy ${ZONE} && exit; sleep 0.2; done; exit 1`)
      },
    }
  }
}

/** xdp-filter pins below /sys/fs/bpf; a mount namespace replaces that by a directory of our bpffs. */
function xdpFilter(host: Host, addresses: Uint32Array): Make {
  const root = `${host.bpffs}/others`
  const inside = (...argv: readonly string[]): void =>
    void host.in('unshare', '--mount', 'sh', '-c', `mount --bind ${root} /sys/fs/bpf && exec "$@"`, 'sh', ...argv)
  return (name, sources) => ({
    name,
    sources,
    set() {
      mkdirSync(root, { recursive: true })
      inside('xdp-filter', 'load', '-f', 'ipv4', '-p', 'allow', '-m', 'native', host.device)
      // Equals `xdp-filter ip -m src ADDRESS`, without a process for each.
      const update = (address: number): string =>
        `map update pinned ${root}/xdp-filter/filter_ipv4 key ${dotted(address, ' ')} value 1 0 0 0 0 0 0 0`
      sh('bpftool', 'batch', 'file', host.write('flood.batch', lines(addresses.subarray(0, sources), update)))
    },
    clear() {
      inside('xdp-filter', 'unload', host.device)
      rmSync(`${root}/xdp-filter`, { recursive: true, force: true })
    },
  })
}

export interface Filters {
  readonly usable: readonly Filter[]
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
}

/** All filters that work here. The others are compared with the first. */
export function makeFilters(host: Host, addresses: Uint32Array, drop: string): Filters {
  const ours = own(host, addresses, 'native')
  const native = program(host, drop, 'xdpdrv')
  const usable: Filter[] = [
    native('XDP drop, nothing else', 1),
    native('XDP drop, nothing else', 10_000),
    native('XDP drop, nothing else', addresses.length),
    ours('xdp', 10),
    ours('xdp', 10_000),
    ours('xdp', addresses.length),
    program(host, drop, 'xdpgeneric')('generic XDP drop, nothing else', 1),
    own(host, addresses, 'generic')('xdp, mode generic', 10_000),
    { name: 'no filter, no listener', sources: 1, passes: true, set: () => {}, clear: () => {} },
  ]
  const skipped: { name: string; reason: string }[] = []
  const offer = (name: string, reason: string | undefined, ...filters: readonly Filter[]): void => {
    if (reason) skipped.push({ name, reason })
    else usable.push(...filters)
  }
  const inXdpFilter = xdpFilter(host, addresses)
  offer(
    'xdp-filter',
    refusal('xdp-filter', () => {
      const trial = inXdpFilter('', 1)
      trial.set()
      trial.clear()
    }),
    inXdpFilter('xdp-filter', 1),
    inXdpFilter('xdp-filter (its maximum)', 10_000),
  )
  const ingress = nft(host, addresses, `hook ingress device ${host.device} priority -500`, 'netdev')
  const prerouting = nft(host, addresses, 'hook prerouting priority raw', 'ip')
  offer(
    'nftables',
    refusal('nft', () => host.in('nft', 'list', 'tables')),
    ingress('nft ingress rule', 1),
    ingress('nft ingress set', 10_000),
    ingress('nft ingress set', addresses.length),
    prerouting('nft prerouting rule', 1),
    prerouting('nft prerouting set', 10_000),
  )
  const raw = iptables(host, addresses)
  const noIptables = refusal('iptables', () => host.in('iptables', '-w', '-t', 'raw', '-L', '-n'))
  offer('iptables', noIptables, raw('iptables raw rule', 1))
  offer(
    'ipset',
    noIptables ?? refusal('ipset', () => host.in('ipset', 'list', '-n')),
    raw('iptables raw, ipset', 10_000),
    raw('iptables raw, ipset', addresses.length),
  )
  return { usable, skipped }
}
