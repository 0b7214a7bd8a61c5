// The tools that xdp runs.

import { atLeast, parseVersion, type Version } from '../../model/version.ts'
import type { Check } from '../../report/result.ts'
import { installHint } from '../tools/packages.ts'
import { type Output, tryTool } from '../tools/spawn.ts'
import { bad, ok, warn } from './check.ts'

/** Oldest tested version of bpftool. */
const BPFTOOL_TESTED: Version = [7, 1]
/** bpftool 6.7 has libbpf 0.7, the first with xdp.frags; earlier versions had the number of the kernel (5.17 …). */
const BPFTOOL_FLOOR: Version = [6, 7]
/** iproute2 of Debian 12. */
const IP_TESTED: Version = [6, 1]

/** The version line of a tool; another program of its name may print anything. */
const firstLine = ({ stdout }: Output): string => stdout.trim().split('\n', 1)[0]?.slice(0, 80) ?? ''

export function checkBpftool(output: Output | undefined, install: string): Check {
  const id = 'tools.bpftool'
  if (!output) return bad(id, 'bpftool is not installed', install)
  const version = parseVersion(output.stdout)
  // /usr/sbin/bpftool of Ubuntu is a script that fails if the tools for the running kernel are not installed.
  if (output.exitCode !== 0 || !version) return bad(id, 'bpftool is installed but does not run', install)
  const text = version.join('.')
  if (!atLeast(version, BPFTOOL_FLOOR)) {
    return bad(id, `bpftool ${text} cannot load programs for multi-buffer packets (xdp.frags)`, install)
  }
  if (!atLeast(version, BPFTOOL_TESTED)) {
    return warn(id, `bpftool ${text} is older than ${BPFTOOL_TESTED.join('.')}, the oldest tested version`, install)
  }
  return ok(id, `bpftool ${text}`)
}

export function checkIp(output: Output | undefined, install: string): Check {
  const id = 'tools.ip'
  if (!output) return bad(id, 'ip is not installed', install)
  // The ip of BusyBox has no JSON and does not accept -V.
  if (output.exitCode !== 0 || !output.stdout.includes('iproute2')) {
    return bad(id, 'this ip is not from iproute2, so it prints no JSON', install)
  }
  // Until 2020 versions were named after a date: iproute2-ss200127.
  const text = /iproute2-([^\s,]{1,40})/.exec(output.stdout)?.[1] ?? 'of unknown age'
  const version = parseVersion(text)
  if (!version || !atLeast(version, IP_TESTED)) {
    return warn(id, `iproute2 ${text} is older than ${IP_TESTED.join('.')}, the oldest tested version`, install)
  }
  return ok(id, `iproute2 ${text}`)
}

export function checkFlock(output: Output | undefined, install: string): Check {
  const id = 'tools.flock'
  if (!output) return bad(id, 'flock is not installed, so apply cannot take its lock', install)
  if (!output.stdout.includes('util-linux')) {
    return bad(id, 'this flock is not from util-linux, so it has no --timeout', install)
  }
  return ok(id, firstLine(output))
}

export function checkEthtool(output: Output | undefined, install: string): Check {
  const id = 'tools.ethtool'
  if (output?.exitCode !== 0) {
    return warn(id, 'ethtool is not installed, so drivers, offloads and queues are not checked', install)
  }
  return ok(id, firstLine(output))
}

export interface Tools {
  readonly checks: readonly Check[]
  readonly bpftool: boolean
  readonly ip: boolean
  readonly ethtool: boolean
}

export async function checkTools(): Promise<Tools> {
  const [bpftool, ip, flock, ethtool] = await Promise.all([
    tryTool('bpftool', 'version'),
    tryTool('ip', '-V'),
    tryTool('flock', '--version'),
    tryTool('ethtool', '--version'),
  ])
  return {
    checks: [
      checkBpftool(bpftool, installHint('bpftool')),
      checkIp(ip, installHint('ip')),
      checkFlock(flock, installHint('flock')),
      checkEthtool(ethtool, installHint('ethtool')),
    ],
    bpftool: bpftool?.exitCode === 0,
    ip: ip?.exitCode === 0,
    ethtool: ethtool?.exitCode === 0,
  }
}
