/** What `xdp --version` shows besides the version. */
export interface Build {
  /** Digest of the sources; undefined if run from them. */
  readonly build: string | undefined
  readonly node: string
  /** Whether the Node is part of the executable. */
  readonly hasOwnNode: boolean
  /** The BPF programs that this build loads; undefined if their objects are missing. */
  readonly program: { readonly digest: string; readonly abi: number } | undefined
  /** Oldest kernel on which everything is tested: major.minor. */
  readonly kernelFloor: string
  /** Release of the running kernel. */
  readonly kernel: string
}
