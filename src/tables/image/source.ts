// The source of an image, and the compilation steps that a new image and an edited one share: services and roles.

import type { Roles } from '../../abi/generated.ts'
import type { Slots } from '../../model/live.ts'
import type { LeavingBackend } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import type { Previous } from '../layout/difference.ts'
import type { CompiledBefore } from '../services/backends.ts'
import { rolesLine } from '../services/balance.ts'
import { compileServices, type ServiceSections } from '../services/services.ts'

/** Facts that a generation records about itself. */
export interface ImageMeta {
  readonly generation: number
  /** Inode of the instance's network namespace. */
  readonly netns: bigint
  /** First 16 bytes of the BPF object's SHA-256. */
  readonly objectDigest: Uint8Array
}

/** Input of a compilation. */
export interface Source {
  readonly state: State
  /** Slots of every list, interface, service, backend (in use or leaving) and pool address. */
  readonly slots: Slots
  readonly meta: ImageMeta
  /** Backends that were removed from the file and keep their flows. */
  readonly leaving?: readonly LeavingBackend[]
  /** Of drained backends, by backendSlotKey: when they lose their flows. */
  readonly deadlines?: ReadonlyMap<string, number>
  /** Known facts of the previous image. */
  readonly previous?: Previous | undefined
  /** Input from which the previous services were compiled, if available. */
  readonly before?: CompiledBefore | undefined
}

/** Compiles the services and roles of a source. Throws XdpError E208 if the tables cannot hold them. */
export function compileBalance({
  state: { services, interfaces },
  slots,
  leaving = [],
  deadlines = new Map(),
  before,
}: Source): { readonly services: ServiceSections | undefined; readonly roles: Roles } {
  return {
    services: services.size > 0 ? compileServices(services, { slots, leaving, deadlines }, before) : undefined,
    roles: rolesLine(interfaces, slots.interfaces),
  }
}
