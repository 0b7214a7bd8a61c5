// Waits for interfaces that do not exist yet: at boot, while the kernel loads drivers and udev renames interfaces.

import { setTimeout } from 'node:timers/promises'
import { list, record, text } from '../../abi/answer.ts'
import { fail } from '../../diagnostics.ts'
import { askIp } from '../tools/ip.ts'
import type { Host } from './host.ts'

/** Polling interval; each poll is one process of a few milliseconds. */
const INTERVAL_MS = 100

async function absent(names: readonly string[]): Promise<string[]> {
  const links = await askIp(list(record({ ifname: text })), 'link', 'show')
  const existing = new Set(links.map(({ ifname }) => ifname))
  return names.filter((name) => !existing.has(name))
}

/**
 * Waits at most `timeoutMs` until every interface exists, up or not. Returns the names of those that still do not.
 * Throws E112 if interrupted.
 */
export async function waitForInterfaces(host: Host, names: readonly string[], timeoutMs: number): Promise<string[]> {
  // Not the time of day, which may be set while the machine boots.
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const missing = await absent(names)
    const left = deadline - performance.now()
    if (missing.length === 0 || left <= 0) return missing
    host.progress?.(`waiting for ${missing.join(', ')}`)
    try {
      await setTimeout(Math.min(INTERVAL_MS, left), undefined, host.signal ? { signal: host.signal } : {})
    } catch (error) {
      throw fail('E112', 'interrupted while waiting for interfaces: nothing was changed', undefined, error)
    }
  }
}
