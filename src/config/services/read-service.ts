// A service of a config, with the places of its values.

import type { ServiceHealth } from '../../model/health.ts'
import type { Service } from '../../model/service.ts'
import type { Reading } from '../text/place.ts'
import type { Placed } from '../text/tree.ts'

/** A service as read, with all that is said of it later. */
export interface ReadService {
  readonly service: Service
  readonly health: ServiceHealth | undefined
  readonly placed: Placed
  readonly reading: Reading
  /** Where backends stand, by backendKey; the sorry backend's too. */
  readonly backends: ReadonlyMap<string, Placed>
}
