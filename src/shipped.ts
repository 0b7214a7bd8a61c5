// Files that the program ships with. The executable (`npm run package`) holds them in itself, and its loader passes them on
// here; otherwise they lie beside the bundle, where their readers find them.

/** Returns a copy of a file of the executable, by its path in `dist/`. */
type Read = (path: string) => Uint8Array | undefined

const read = (globalThis as { readonly xdpShipped?: Read }).xdpShipped

/** Whether this is the executable: a Node that runs nothing but xdp. */
export const isExecutable = read !== undefined

/** A file of the executable. Undefined if it is missing, or if this is no executable. */
export const shipped = (path: string): Uint8Array | undefined => read?.(path)

/** First argument of the executable that makes it the process of health checks: src/checker.ts. */
export const CHECKER = '__checker'
