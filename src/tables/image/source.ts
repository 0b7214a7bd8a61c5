// What an image is compiled from, and the part of it that is compiled the same way whether an image is made anew or out of
// the one before: services and roles.

import type { Roles } from '../../abi/generated.ts'
import type { Slots } from '../../model/live.ts'
import type { LeavingBackend } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import type { Previous } from '../layout/difference.ts'
import type { CompiledBefore } from '../services/backends.ts'
import { rolesLine } from '../services/balance.ts'
import { compileServices, type ServiceSections } from '../services/services.ts'

/** What a generation records of itself besides its content. */
export interface ImageMeta {
  readonly generation: number
  /** Inode of the instance's network namespace. */
  readonly netns: bigint
  /** First 16 bytes of the SHA-256 of the BPF object. */
  readonly objectDigest: Uint8Array
}

/** What an image is compiled from. */
export interface Source {
  readonly state: State
  /** Of every list, interface, service, backend (in use or leaving) and pool address. */
  readonly slots: Slots
  readonly meta: ImageMeta
  /** Backends that left the file and keep their flows. */
  readonly leaving?: readonly LeavingBackend[]
  /** Of backends that are drained, by backendSlotKey: when they stop to keep their flows. */
  readonly deadlines?: ReadonlyMap<string, number>
  /** What is known of the image before. */
  readonly previous?: Previous | undefined
  /** What its services were compiled of, where that is at hand. */
  readonly before?: CompiledBefore | undefined
}

/** The services and roles of a source. Throws XdpError E208 where they are more than the tables can hold. */
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
