// Renders `xdp --version` as text, the version alone in its first line, and as JSON (schemas/version.schema.json).

import type { Build } from '../report/build.ts'
import { jsonDocument } from './json.ts'

/** Digits of a digest that are enough to compare two by eye. */
const SHOWN = 16

export function renderVersion(version: string, build: Build): string {
  const { program } = build
  const lines = [
    `xdp ${version}`,
    `build: ${build.build ?? 'from the sources'}, on ${build.hasOwnNode ? 'its own ' : ''}Node ${build.node}`,
    `programs: ${program ? `${program.digest.slice(0, SHOWN)}, ABI ${program.abi}` : 'missing; reinstall the package'}`,
    `kernel: Linux ${build.kernelFloor} or newer; this is ${build.kernel}`,
  ]
  return `${lines.join('\n')}\n`
}

export function renderVersionJson(version: string, build: Build): string {
  return jsonDocument({
    version,
    build: build.build ?? null,
    node: { version: build.node, own: build.hasOwnNode },
    program: build.program ?? null,
    kernel: { floor: build.kernelFloor, running: build.kernel },
  })
}
