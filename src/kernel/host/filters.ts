// Other filters of this host, as their own tools print them. Read only; nothing is understood here.

import { fail, XdpError } from '../../diagnostics.ts'
import { runIp } from '../tools/ip.ts'
import { CommandError, spawnTool, stderrWords } from '../tools/spawn.ts'

export type Filter = 'ipset' | 'nft' | 'xdp-filter' | 'iptables'

/** What a tool printed, under the name of its command. */
export interface Printed {
  readonly name: string
  readonly bytes: Uint8Array
}

const COMMANDS: Readonly<Record<Filter, readonly (readonly [tool: string, ...argv: string[]])[]>> = {
  ipset: [['ipset', 'save']],
  nft: [['nft', '-j', 'list', 'ruleset']],
  'xdp-filter': [['xdp-filter', 'status']],
  iptables: [['iptables-save'], ['ip6tables-save']],
}

async function print([tool, ...argv]: readonly [tool: string, ...argv: string[]]): Promise<Printed> {
  const name = [tool, ...argv].join(' ')
  const { stdout, stderr, exitCode } = await spawnTool(tool, argv)
  if (exitCode !== 0) {
    const words = stderrWords(stderr || stdout)
    if (/not permitted|permission denied|must be root/i.test(words))
      throw fail('E104', `${name} needs root: ${words}`, 'run it with sudo, or import a file that root has made')
    throw new CommandError(name, exitCode, words)
  }
  return { name, bytes: Buffer.from(stdout) }
}

/** Sets that rules of iptables name. Without ipset those rules are told to be left out, which is no failure. */
async function printSets(): Promise<Printed[]> {
  try {
    return [await print(['ipset', 'save'])]
  } catch (error) {
    if (error instanceof XdpError) return []
    throw error
  }
}

/** Throws E100 where the tool is missing, E104 without root, E101 where it fails. */
export async function readFilter(filter: Filter): Promise<readonly Printed[]> {
  const printed: Printed[] = []
  for (const command of COMMANDS[filter]) printed.push(await print(command))
  const usesSets = filter === 'iptables' && printed.some(({ bytes }) => Buffer.from(bytes).includes('--match-set'))
  return usesSets ? [...printed, ...(await printSets())] : printed
}

/** Interfaces that the default routes of this host use: those that the world comes in by. */
export async function defaultRouteInterfaces(): Promise<readonly string[]> {
  const routes = await Promise.all([runIp('-4', 'route', 'show', 'default'), runIp('-6', 'route', 'show', 'default')])
  const devices = routes.flatMap((found) =>
    ((found ?? []) as readonly { readonly dev?: string }[]).map(({ dev }) => dev),
  )
  return [...new Set(devices.filter((dev) => dev !== undefined && dev !== 'lo'))] as readonly string[]
}
