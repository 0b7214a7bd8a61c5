// ip, as JSON: what the kernel's netlink says of interfaces. Never /sys/class/net, which shows the namespace of the
// mount and not of the process.

import { CommandError, parseJson, spawnTool, stderrWords } from './spawn.ts'

/** Runs `ip -j …` and returns its JSON. Throws CommandError, or XdpError E100 where ip is missing. */
export async function runIp(...argv: readonly string[]): Promise<unknown> {
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', ...argv])
  if (exitCode !== 0) throw new CommandError(`ip ${argv.join(' ')}`, exitCode, stderrWords(stderr))
  return parseJson(stdout)
}
