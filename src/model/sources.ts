// The files that a config was read from: what a history keeps of them, and what a config is read from again.

/** A file of a config, as it was read. */
export interface SourceFile {
  /** Absolute. */
  readonly path: string
  /** Of the file as it was on the disk, as hex. */
  readonly sha256: string
  /** Time of its last write; Unix time in seconds. */
  readonly modifiedAt: number
  /** The content of a config or an included file. undefined: a list file, which may be large, so its bytes are on the disk. */
  readonly text: Uint8Array | undefined
}

/** A pattern for files, and the paths that it matched. All are absolute. */
export interface SourcePattern {
  readonly pattern: string
  readonly matches: readonly string[]
}

/** Everything that a config was read from. */
export interface Sources {
  /** The config, then included files, then list files. */
  readonly files: readonly SourceFile[]
  readonly patterns: readonly SourcePattern[]
}

/** The content of a file that is kept elsewhere than under its path. */
export interface KeptContent {
  readonly bytes: Uint8Array
  /** Unix time in seconds. */
  readonly modifiedAt: number
}

/** Files that a config is read from in place of those on the disk. Paths are absolute. */
export interface KeptFiles {
  /** undefined: the config of then had no such file, or its content is not kept. */
  readonly read: (path: string) => KeptContent | undefined
  /** Equal for equal files; undefined without the file. */
  readonly identityOf: (path: string) => string | undefined
  readonly matches: (pattern: string) => readonly string[]
}

/** The config file whose policy is not in force because of a rollback, which leaves the file as it is. */
export interface Overruled {
  /** Absolute. */
  readonly path: string
  /** Digests of the config with its files: one, or, if the file was invalid, those that may be valid again. */
  readonly sha256: readonly string[]
}

/** The origin of a config that was read from the history. */
export interface Restored {
  /** Number of the entry. */
  readonly entry: number
  readonly overrules: Overruled
}
