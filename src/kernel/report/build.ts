// Which xdp this is: its build, the Node below it, the programs it ships, and the oldest kernel that they need.

import { release } from 'node:os'
import { FLOOR } from '../../model/version.ts'
import type { Build } from '../../report/build.ts'
import { isExecutable } from '../../shipped.ts'
import { loadObject } from '../tools/object.ts'

/** Set by the bundler: a digest of everything that the bundle is made from. */
declare const XDP_BUILD: string

/** Describes the running program. Missing objects are part of the answer. */
export async function readBuild(): Promise<Build> {
  const program = await loadObject().then(
    (object) => object.program,
    () => undefined,
  )
  return {
    build: typeof XDP_BUILD === 'string' ? XDP_BUILD : undefined,
    node: process.versions.node,
    hasOwnNode: isExecutable,
    program,
    kernelFloor: FLOOR.join('.'),
    kernel: release(),
  }
}
