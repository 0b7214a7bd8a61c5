// Health on top of the configured weights: the share of its weight that each backend takes now, and the mode of its
// service. Not part of the State, so no plan shows it and no edit resets it.

/**
 * Mode of a service. `well`: backends take new flows by their shares. `empty`: no backend takes any, so `on_empty`
 * decides. `backup`, `drop` and `sorry`: fewer backends are healthy than `min_healthy` requires, and this is the
 * fallback.
 */
export type ServiceMode = 'well' | 'empty' | 'backup' | 'drop' | 'sorry'

export interface ServiceOverlay {
  readonly mode: ServiceMode
  /**
   * By backendKey: the share of its weight that a backend takes; 1 = all, 0 = down. Backends without an entry take all.
   */
  readonly shares: ReadonlyMap<string, number>
}

/** By service name. */
export type Overlay = ReadonlyMap<string, ServiceOverlay>
