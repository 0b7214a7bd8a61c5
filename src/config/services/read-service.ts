// A service of a config, with the place of every value.

import type { ServiceHealth } from '../../model/health.ts'
import type { Service } from '../../model/service.ts'
import type { Reading } from '../text/place.ts'
import type { Placed } from '../text/tree.ts'

/** A service, and everything that later checks need to report errors in it. */
export interface ReadService {
  readonly service: Service
  readonly health: ServiceHealth | undefined
  readonly placed: Placed
  readonly reading: Reading
  /** Places of the backends and of the sorry backend, by backendKey. */
  readonly backends: ReadonlyMap<string, Placed>
}
