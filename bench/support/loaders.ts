// Loaders of a list of addresses into the kernel, which also add and remove one: ours, and other tools.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dotted, lines } from './addresses.ts'
import { type Cost, type Host, sh, time, which } from './host.ts'

export interface Loader {
  readonly name: string
  /** Rounds of adding and removing one address, if they would take minutes; default: all. */
  readonly editRounds?: number
  /** Why it cannot run here. */
  readonly missing: string | undefined
  /** Writes the files that `load` reads. */
  prepare(addresses: Uint32Array): void
  load(): Promise<Cost>
  add(address: number): Promise<Cost>
  remove(address: number): Promise<Cost>
  clear(): void
}

const LIST = 'list.txt'

export interface OwnLoader extends Loader {
  /** Cost of a plan without changes. */
  plan(): Promise<Cost>
  /** Number of table lines written by an apply with one more address. */
  written(address: number): number
}

/** `xdp apply`; adding or removing one address applies the file with or without its line. */
export function makeOwn(host: Host): OwnLoader {
  const run = (...args: readonly string[]): Promise<Cost> => time(host.xdp(...args), host.directory)
  const apply = (): Promise<Cost> => run('apply', '--auto-approve')
  let text = ''
  return {
    name: 'xdp apply',
    missing: undefined,
    prepare(addresses) {
      text = lines(addresses, dotted)
      host.write(LIST, text)
      const blocklist = `blocklist:\n  - { name: feed, file: ${LIST}, exclude_private: false }\n`
      host.write('xdp.yaml', `version: 1\ninterfaces:\n  ${host.device}: {}\n${blocklist}`)
    },
    load: apply,
    plan: () => run('plan', '--detailed-exitcode'),
    written(address) {
      host.write(LIST, `${text}${dotted(address)}\n`)
      const [file, ...args] = host.xdp('plan', '--commands') as [string, ...string[]]
      const plan = execFileSync(file, args, { cwd: host.directory, encoding: 'utf8' })
      host.write(LIST, text)
      return Number(/table_write .* # (\d+) lines? in/.exec(plan)?.[1] ?? Number.NaN)
    },
    add(address) {
      host.write(LIST, `${text}${dotted(address)}\n`)
      return apply()
    },
    remove() {
      host.write(LIST, text)
      return apply()
    },
    clear() {
      const [file, ...args] = host.xdp('destroy', '--auto-approve') as [string, ...string[]]
      sh(file, ...args)
      // The first apply of the next round must not profit from this one.
      rmSync(host.cache, { recursive: true, force: true })
    },
  }
}

/** Why a tool cannot be used: it is not installed, or the kernel lacks its part. */
function whyMissing(host: Host, tool: string, ...probe: readonly string[]): string | undefined {
  if (!which(tool)) return `${tool} is not installed`
  try {
    host.in(tool, ...probe)
    return undefined
  } catch (error) {
    return `the kernel refuses ${tool}: ${((error as { stderr?: string }).stderr ?? '').trim().split('\n')[0]}`
  }
}

const inside = (host: Host, ...argv: readonly string[]): string[] => [
  'nsenter',
  `--net=/run/netns/${host.netns}`,
  ...argv,
]

export function makeIpset(host: Host): Loader {
  const run = (...argv: readonly string[]): Promise<Cost> => time(inside(host, 'ipset', ...argv))
  let file = ''
  return {
    name: 'ipset restore (hash:net)',
    missing: whyMissing(host, 'ipset', 'list', '-n'),
    prepare(addresses) {
      const create = `create feed hash:net maxelem ${addresses.length + 1000}\n`
      file = host.write('ipset.txt', create + lines(addresses, (address) => `add feed ${dotted(address)}`))
    },
    load: () => run('restore', '-f', file),
    add: (address) => run('add', 'feed', dotted(address)),
    remove: (address) => run('del', 'feed', dotted(address)),
    clear: () => void host.in('ipset', 'destroy', 'feed'),
  }
}

/** CIDRs need an interval set; a plain set holds only addresses. */
export function makeNft(host: Host, kind: 'interval' | 'plain'): Loader {
  const run = (...argv: readonly string[]): Promise<Cost> => time(inside(host, 'nft', ...argv))
  let file = ''
  return {
    name: `nft -f (${kind} set)`,
    // Measured once: an edit of an interval set of a million takes a minute.
    ...(kind === 'interval' ? { editRounds: 1 } : {}),
    missing: whyMissing(host, 'nft', 'list', 'tables'),
    prepare(addresses) {
      const flags = kind === 'interval' ? 'flags interval; ' : ''
      const elements = lines(addresses, (address) => `${dotted(address)},`)
      file = host.write(
        `nft-${kind}.nft`,
        `table inet bench { set feed { type ipv4_addr; ${flags}elements = {\n${elements}}; }; }\n`,
      )
    },
    load: () => run('-f', file),
    add: (address) => run('add', 'element', 'inet', 'bench', 'feed', `{ ${dotted(address)} }`),
    remove: (address) => run('delete', 'element', 'inet', 'bench', 'feed', `{ ${dotted(address)} }`),
    clear: () => void host.in('nft', 'delete', 'table', 'inet', 'bench'),
  }
}

/** A BPF hash of addresses, one `map update` per line: the fastest variant of most scripts. */
export function makeBpftool(host: Host): Loader {
  const pin = `${host.bpffs}/hash`
  let file = ''
  let entries = 0
  const update = (address: number): string => `key ${dotted(address, ' ')} value 1 0 0 0`
  return {
    name: 'bpftool batch (hash map)',
    missing: which('bpftool') ? undefined : 'bpftool is not installed',
    prepare(addresses) {
      entries = addresses.length + 1000
      file = host.write(
        'bpftool.txt',
        lines(addresses, (address) => `map update pinned ${pin} ${update(address)}`),
      )
    },
    load() {
      const sizes = ['key', '4', 'value', '4', 'entries', `${entries}`, 'name', 'hash']
      sh('bpftool', 'map', 'create', pin, 'type', 'hash', ...sizes)
      return time(['bpftool', 'batch', 'file', file])
    },
    add: (address) => time(['bpftool', 'map', 'update', 'pinned', pin, ...update(address).split(' ')]),
    remove: (address) => time(['bpftool', 'map', 'delete', 'pinned', pin, 'key', ...dotted(address, ' ').split(' ')]),
    clear: () => rmSync(pin),
  }
}

/** Bytes of kernel memory of our policy maps. */
export function policyMemory(host: Host): number {
  const pins = sh(
    'find',
    `${host.bpffs}/xdp-as-code`,
    '-type',
    'f',
    '(',
    '-name',
    'policy',
    '-o',
    '-path',
    '*shared*',
    ')',
  )
  return pins
    .trim()
    .split('\n')
    .map((pin) => JSON.parse(sh('bpftool', '-j', 'map', 'show', 'pinned', pin)) as { bytes_memlock: number | string })
    .reduce((sum, map) => sum + Number(map.bytes_memlock), 0)
}

/** The load averages of the machine, for the report. */
export const machineLoad = (): string =>
  existsSync('/proc/loadavg') ? readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ') : 'unknown'
