// Rules of other filters and balancers on this host, as their tools print them. Reads only, and parses nothing.

import { list, optional, record, text } from '../../abi/answer.ts'
import { fail, XdpError } from '../../diagnostics.ts'
import { askIp } from '../tools/ip.ts'
import { permissionHint } from '../tools/permission.ts'
import { CommandError, spawnTool, stderrWords } from '../tools/spawn.ts'

export type Filter = 'ipset' | 'nft' | 'xdp-filter' | 'iptables' | 'ipvsadm'

/** The output of a tool, named after its command. */
export interface Printed {
  readonly name: string
  readonly bytes: Uint8Array
}

const COMMANDS: Readonly<Record<Filter, readonly (readonly [tool: string, ...argv: string[]])[]>> = {
  ipset: [['ipset', 'save']],
  nft: [['nft', '-j', 'list', 'ruleset']],
  'xdp-filter': [['xdp-filter', 'status']],
  iptables: [['iptables-save'], ['ip6tables-save']],
  ipvsadm: [['ipvsadm', '-S', '-n']],
}

async function print([tool, ...argv]: readonly [tool: string, ...argv: string[]]): Promise<Printed> {
  const name = [tool, ...argv].join(' ')
  const { stdout, stderr, exitCode } = await spawnTool(tool, argv)
  if (exitCode !== 0) {
    const words = stderrWords(stderr || stdout)
    if (/not permitted|permission denied|must be root/i.test(words))
      throw fail(
        'E104',
        `${name} needs root: ${words}`,
        `${permissionHint(['NET_ADMIN'])}, or import a file written by root`,
      )
    throw new CommandError(name, exitCode, words)
  }
  return { name, bytes: Buffer.from(stdout) }
}

/**
 * The sets that iptables rules name. Without the tool ipset those rules are reported as left out, which is no failure.
 */
async function printSets(): Promise<Printed[]> {
  try {
    return [await print(['ipset', 'save'])]
  } catch (error) {
    if (error instanceof XdpError) return []
    throw error
  }
}

/** Throws E100 if the tool is missing, E104 without root, E101 if it fails. */
export async function readFilter(filter: Filter): Promise<readonly Printed[]> {
  const printed: Printed[] = []
  for (const command of COMMANDS[filter]) printed.push(await print(command))
  const usesSets = filter === 'iptables' && printed.some(({ bytes }) => Buffer.from(bytes).includes('--match-set'))
  return usesSets ? [...printed, ...(await printSets())] : printed
}

/** Interfaces of the default routes of this host: they receive packets from the internet. */
export async function defaultRouteInterfaces(): Promise<readonly string[]> {
  const shape = list(record({ dev: optional(text) }))
  const families = ['-4', '-6'].map((family) => askIp(shape, family, 'route', 'show', 'default'))
  const devices = (await Promise.all(families)).flat().map(({ dev }) => dev)
  return [...new Set(devices.filter((dev) => dev !== undefined && dev !== 'lo'))] as readonly string[]
}
