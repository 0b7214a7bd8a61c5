// The address and port that a check comes from, where that matters: for checks through a VIP they lead to the backend.

export interface Source {
  /** Formatted. */
  readonly address: string
  readonly port: number
}

/** Options of a connection from there; undefined: the kernel chooses. */
export const from = (source: Source | undefined): { readonly localAddress?: string; readonly localPort?: number } =>
  source ? { localAddress: source.address, localPort: source.port } : {}
