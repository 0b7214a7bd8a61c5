// Debian's Prometheus and node_exporter: the installed ones, or the packages unpacked.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { unpacked } from './debian.ts'
import { runs } from './programs.ts'

const PACKAGES = {
  promtool: 'prometheus',
  prometheus: 'prometheus',
  'prometheus-node-exporter': 'prometheus-node-exporter',
} as const

/** The path of a program; undefined if it is not installed and its package is not available. */
export function findProgram(name: keyof typeof PACKAGES): string | undefined {
  if (runs(name, ['--version'])) return name
  const found = unpacked(PACKAGES[name])
  const path = 'root' in found ? join(found.root, 'usr/bin', name) : undefined
  return path && runs(path, ['--version']) ? path : undefined
}

export const MISSING = 'it is not installed, and its Debian package is not available'

/** A port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : 0
}

/** Runs a server during `body`, and ends it. */
export async function serving(file: string, args: readonly string[], body: () => Promise<void>): Promise<void> {
  const child = spawn(file, [...args], { stdio: 'ignore' })
  const ended = once(child, 'close')
  try {
    await body()
  } finally {
    child.kill('SIGTERM')
    await ended
  }
}

/** The answer of a URL; undefined without a listener. */
export async function fetchText(url: string): Promise<string | undefined> {
  try {
    return await (await fetch(url)).text()
  } catch {
    return undefined
  }
}
