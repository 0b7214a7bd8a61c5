// What health lays over the configured weights: how much of its share every backend takes now, and what is up with its
// service. Apart from the State, so that no plan shows it and no edit resets it.

/**
 * Of a service. `well`: new flows go to backends by their shares. `empty`: no backend takes any, so `on_empty` decides.
 * `drop` and `sorry`: fewer backends are healthy than `min_healthy` asks for, and this is the fallback.
 */
export type ServiceMode = 'well' | 'empty' | 'drop' | 'sorry'

export interface ServiceOverlay {
  readonly mode: ServiceMode
  /** By backendKey: how much of its weight a backend takes, 1 = all, 0 = it is down. Who is not in it takes all. */
  readonly shares: ReadonlyMap<string, number>
}

/** By service name. */
export type Overlay = ReadonlyMap<string, ServiceOverlay>
