// Every error and warning the tool can give: its code, its exit status, and the shape all of them share. Text for
// people is made in render/. docs/errors.md lists the same codes; a test holds the two together.

/** Exit statuses, documented in docs/errors.md. */
export const EXIT = {
  ok: 0,
  failed: 1,
  changesPending: 2,
  mixed: 3,
  refused: 4,
  usage: 64,
  noInput: 66,
  unavailable: 69,
  bug: 70,
  locked: 75,
  notPermitted: 77,
  badConfig: 78,
} as const

export type Exit = (typeof EXIT)[keyof typeof EXIT]

/** Code → short name and exit status. E0xx config, E1xx host, kernel and tools, E2xx guards, E3xx usage; W… warnings. */
export const CODES = {
  E100: { name: 'tool-missing', exit: EXIT.unavailable },
  E101: { name: 'command-failed', exit: EXIT.failed },
  E102: { name: 'mode-unsupported', exit: EXIT.unavailable },
  E103: { name: 'interface-missing', exit: EXIT.unavailable },
  E104: { name: 'not-permitted', exit: EXIT.notPermitted },
  E105: { name: 'bpffs-missing', exit: EXIT.unavailable },
  E106: { name: 'locked', exit: EXIT.locked },
  E107: { name: 'kernel-too-old', exit: EXIT.unavailable },
  E108: { name: 'verification-failed', exit: EXIT.failed },
  E109: { name: 'no-memory', exit: EXIT.unavailable },
  E110: { name: 'object-missing', exit: EXIT.unavailable },
  E111: { name: 'live-state-mixed', exit: EXIT.mixed },
  E112: { name: 'interrupted', exit: EXIT.failed },
  E200: { name: 'foreign-program', exit: EXIT.refused },
  E201: { name: 'wrong-namespace', exit: EXIT.refused },
  E202: { name: 'too-many-classes', exit: EXIT.badConfig },
  E203: { name: 'too-many-lists', exit: EXIT.badConfig },
  E204: { name: 'too-many-rules', exit: EXIT.badConfig },
  E205: { name: 'too-many-interfaces', exit: EXIT.badConfig },
  E300: { name: 'usage', exit: EXIT.usage },
  E301: { name: 'declined', exit: EXIT.failed },
  E302: { name: 'interrupted', exit: EXIT.failed },
  E999: { name: 'internal', exit: EXIT.bug },
  W200: { name: 'interface-skipped', exit: EXIT.ok },
  W201: { name: 'peer-offload-lost', exit: EXIT.ok },
  W202: { name: 'interface-down', exit: EXIT.ok },
  W203: { name: 'mode-not-preferred', exit: EXIT.ok },
  W204: { name: 'member-interface', exit: EXIT.ok },
  W205: { name: 'blocks-everything', exit: EXIT.ok },
  W206: { name: 'counters-restart', exit: EXIT.ok },
  W207: { name: 'nothing-attached', exit: EXIT.ok },
  W208: { name: 'native-unlikely', exit: EXIT.ok },
} as const

export type Code = keyof typeof CODES

/** Where something stands. Line and column count from 1; `length` columns are marked. */
export interface Location {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly length: number
  /** The source line, for the caret display. */
  readonly text?: string
}

export interface Diagnostic {
  readonly code: Code
  readonly severity: 'error' | 'warning'
  readonly message: string
  /** What to type or do. */
  readonly hint?: string
  readonly at?: Location
}

/** An expected failure, thrown at room edges. Anything else that is thrown is a bug of ours (exit 70). */
export class XdpError extends Error {
  readonly diagnostics: readonly Diagnostic[]

  constructor(diagnostics: readonly Diagnostic[], options?: ErrorOptions) {
    super(diagnostics.map(({ code, message }) => `${code} ${message}`).join('\n'), options)
    this.name = 'XdpError'
    this.diagnostics = diagnostics
  }

  /** The exit status of the first error. */
  get exit(): Exit {
    const first = this.diagnostics.find(({ severity }) => severity === 'error')
    return first ? CODES[first.code].exit : EXIT.failed
  }
}

/** Shorthand for one error without a place in a file. */
export function fail(code: Code, message: string, hint?: string, cause?: unknown): XdpError {
  return new XdpError([{ code, severity: 'error', message, ...(hint === undefined ? {} : { hint }) }], { cause })
}
