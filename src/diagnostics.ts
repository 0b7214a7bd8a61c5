// The codes of all errors and warnings with their exit statuses, and the type of a diagnostic. render/ makes the text.
// docs/errors.md lists the codes; a test compares the two.

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

/**
 * Code → short name and exit status. E0xx config, E1xx host, kernel and tools, E2xx guards, E3xx usage, E4xx import,
 * E5xx metrics; W… warnings.
 */
export const CODES = {
  E001: { name: 'file-missing', exit: EXIT.noInput },
  E002: { name: 'file-unreadable', exit: EXIT.noInput },
  E003: { name: 'file-too-large', exit: EXIT.badConfig },
  E004: { name: 'not-text', exit: EXIT.badConfig },
  E005: { name: 'yaml-syntax', exit: EXIT.badConfig },
  E006: { name: 'empty-file', exit: EXIT.badConfig },
  E007: { name: 'several-documents', exit: EXIT.badConfig },
  E008: { name: 'duplicate-key', exit: EXIT.badConfig },
  E009: { name: 'bad-alias', exit: EXIT.badConfig },
  E010: { name: 'unknown-key', exit: EXIT.badConfig },
  E011: { name: 'missing-key', exit: EXIT.badConfig },
  E012: { name: 'wrong-type', exit: EXIT.badConfig },
  E013: { name: 'bad-value', exit: EXIT.badConfig },
  E014: { name: 'no-value', exit: EXIT.badConfig },
  E015: { name: 'unquoted', exit: EXIT.badConfig },
  E016: { name: 'unsupported-version', exit: EXIT.badConfig },
  E020: { name: 'bad-address', exit: EXIT.badConfig },
  E021: { name: 'host-bits', exit: EXIT.badConfig },
  E022: { name: 'prefix-length', exit: EXIT.badConfig },
  E023: { name: 'reversed-range', exit: EXIT.badConfig },
  E024: { name: 'mixed-range', exit: EXIT.badConfig },
  E025: { name: 'mapped-ipv4', exit: EXIT.badConfig },
  E026: { name: 'entry-source', exit: EXIT.badConfig },
  E027: { name: 'ports-without-protocol', exit: EXIT.badConfig },
  E028: { name: 'bad-port', exit: EXIT.badConfig },
  E029: { name: 'bad-protocol', exit: EXIT.badConfig },
  E030: { name: 'bad-name', exit: EXIT.badConfig },
  E031: { name: 'duplicate-name', exit: EXIT.badConfig },
  E032: { name: 'reserved-name', exit: EXIT.badConfig },
  E033: { name: 'bad-interface-name', exit: EXIT.badConfig },
  E034: { name: 'no-interfaces', exit: EXIT.badConfig },
  E035: { name: 'damaged-gzip', exit: EXIT.badConfig },
  E036: { name: 'no-column', exit: EXIT.badConfig },
  E037: { name: 'unsupported-set', exit: EXIT.badConfig },
  E038: { name: 'needs-file', exit: EXIT.badConfig },
  E039: { name: 'too-many-prefixes', exit: EXIT.badConfig },
  E040: { name: 'unusable-address', exit: EXIT.badConfig },
  E041: { name: 'overlapping-services', exit: EXIT.badConfig },
  E042: { name: 'vip-is-backend', exit: EXIT.badConfig },
  E043: { name: 'mixed-families', exit: EXIT.badConfig },
  E044: { name: 'duplicate-backend', exit: EXIT.badConfig },
  E045: { name: 'ambiguous-replies', exit: EXIT.badConfig },
  E046: { name: 'backend-port', exit: EXIT.badConfig },
  E047: { name: 'snat-pool', exit: EXIT.badConfig },
  E048: { name: 'no-sorry-backend', exit: EXIT.badConfig },
  E049: { name: 'key-without-effect', exit: EXIT.badConfig },
  E050: { name: 'no-port-to-check', exit: EXIT.badConfig },
  E051: { name: 'bad-schedule', exit: EXIT.badConfig },
  E056: { name: 'unknown-interface', exit: EXIT.badConfig },
  E057: { name: 'established-on-allowlist', exit: EXIT.badConfig },
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
  E113: { name: 'tables-damaged', exit: EXIT.failed },
  E114: { name: 'not-attached', exit: EXIT.failed },
  E115: { name: 'run-unwritable', exit: EXIT.unavailable },
  E116: { name: 'not-applied', exit: EXIT.failed },
  E117: { name: 'bans-full', exit: EXIT.unavailable },
  E118: { name: 'watched', exit: EXIT.locked },
  E119: { name: 'pin-missing', exit: EXIT.failed },
  E125: { name: 'no-guardian', exit: EXIT.unavailable },
  E126: { name: 'match-keys', exit: EXIT.badConfig },
  E127: { name: 'bad-match', exit: EXIT.badConfig },
  E128: { name: 'bad-destination', exit: EXIT.badConfig },
  E130: { name: 'tool-hung', exit: EXIT.failed },
  E131: { name: 'tool-answer', exit: EXIT.unavailable },
  E132: { name: 'insecure-file', exit: EXIT.notPermitted },
  E133: { name: 'bad-rate', exit: EXIT.badConfig },
  E134: { name: 'too-many-rate-limits', exit: EXIT.badConfig },
  E135: { name: 'rate-limit-keys', exit: EXIT.badConfig },
  E136: { name: 'bans-do-not-fit', exit: EXIT.refused },
  E200: { name: 'foreign-program', exit: EXIT.refused },
  E201: { name: 'wrong-namespace', exit: EXIT.refused },
  E202: { name: 'too-many-classes', exit: EXIT.badConfig },
  E203: { name: 'too-many-lists', exit: EXIT.badConfig },
  E204: { name: 'too-many-rules', exit: EXIT.badConfig },
  E205: { name: 'too-many-interfaces', exit: EXIT.badConfig },
  E206: { name: 'changed-meanwhile', exit: EXIT.refused },
  E207: { name: 'locks-out', exit: EXIT.refused },
  E208: { name: 'too-many-addresses', exit: EXIT.badConfig },
  E209: { name: 'too-many-services', exit: EXIT.badConfig },
  E210: { name: 'too-many-backends', exit: EXIT.badConfig },
  E211: { name: 'swallows-ssh', exit: EXIT.refused },
  E212: { name: 'backend-is-own', exit: EXIT.refused },
  E213: { name: 'link-layer-unknown', exit: EXIT.unavailable },
  E214: { name: 'balance-without-ethernet', exit: EXIT.refused },
  E216: { name: 'too-many-interface-sets', exit: EXIT.badConfig },
  E217: { name: 'pool-ports-in-use', exit: EXIT.refused },
  E220: { name: 'dsr-through-gateway', exit: EXIT.refused },
  E221: { name: 'check-path', exit: EXIT.refused },
  E222: { name: 'repeated-port', exit: EXIT.badConfig },
  E223: { name: 'backups', exit: EXIT.badConfig },
  E224: { name: 'check-through-vip', exit: EXIT.badConfig },
  E225: { name: 'check-device', exit: EXIT.failed },
  E226: { name: 'cuts-ssh', exit: EXIT.refused },
  E227: { name: 'cuts-gateway', exit: EXIT.refused },
  E228: { name: 'cuts-resolver', exit: EXIT.refused },
  E229: { name: 'cuts-protected', exit: EXIT.refused },
  E245: { name: 'removes-too-much', exit: EXIT.refused },
  E246: { name: 'blocks-too-much', exit: EXIT.refused },
  E247: { name: 'too-wide', exit: EXIT.refused },
  E219: { name: 'bad-hash-key', exit: EXIT.badConfig },
  E230: { name: 'confirmation-pending', exit: EXIT.refused },
  E231: { name: 'not-confirmed', exit: EXIT.refused },
  E232: { name: 'cannot-return', exit: EXIT.refused },
  E233: { name: 'nothing-to-confirm', exit: EXIT.failed },
  E234: { name: 'confirmation-record-lost', exit: EXIT.failed },
  E235: { name: 'not-in-history', exit: EXIT.failed },
  E236: { name: 'history-damaged', exit: EXIT.failed },
  E237: { name: 'list-not-kept', exit: EXIT.refused },
  E238: { name: 'history-unusable', exit: EXIT.unavailable },
  E239: { name: 'rolled-back-meanwhile', exit: EXIT.refused },
  E240: { name: 'not-a-plan', exit: EXIT.badConfig },
  E241: { name: 'plan-edited', exit: EXIT.refused },
  E242: { name: 'plan-elsewhere', exit: EXIT.refused },
  E243: { name: 'plan-version', exit: EXIT.refused },
  E244: { name: 'plan-stale', exit: EXIT.refused },
  E250: { name: 'socket-scope', exit: EXIT.badConfig },
  E251: { name: 'sockets-in-vrf', exit: EXIT.refused },
  E252: { name: 'cannot-answer-syns', exit: EXIT.refused },
  E253: { name: 'protected-ports', exit: EXIT.badConfig },
  E255: { name: 'cannot-chain', exit: EXIT.refused },
  E256: { name: 'chained-program', exit: EXIT.refused },
  E257: { name: 'chain-refused', exit: EXIT.unavailable },
  E258: { name: 'old-node', exit: EXIT.unavailable },
  E260: { name: 'no-ssh-session', exit: EXIT.usage },
  E261: { name: 'never-fetched', exit: EXIT.badConfig },
  E262: { name: 'damaged-copy', exit: EXIT.badConfig },
  E263: { name: 'bad-url', exit: EXIT.badConfig },
  E264: { name: 'fetch-failed', exit: EXIT.failed },
  E267: { name: 'geo-database', exit: EXIT.badConfig },
  E268: { name: 'not-in-geo-database', exit: EXIT.badConfig },
  E269: { name: 'bad-host', exit: EXIT.badConfig },
  E265: { name: 'files-unusable', exit: EXIT.unavailable },
  E270: { name: 'ban-without-source', exit: EXIT.badConfig },
  E271: { name: 'ban-after', exit: EXIT.badConfig },
  E272: { name: 'ban-time', exit: EXIT.badConfig },
  E273: { name: 'ban-too-wide', exit: EXIT.badConfig },
  E274: { name: 'many-own-addresses', exit: EXIT.badConfig },
  E266: { name: 'half-reverted', exit: EXIT.refused },
  E280: { name: 'not-a-state', exit: EXIT.badConfig },
  E281: { name: 'state-version', exit: EXIT.refused },
  E282: { name: 'not-in-the-file', exit: EXIT.usage },
  E283: { name: 'nothing-to-list', exit: EXIT.failed },
  E300: { name: 'usage', exit: EXIT.usage },
  E301: { name: 'declined', exit: EXIT.failed },
  E400: { name: 'not-its-output', exit: EXIT.badConfig },
  E401: { name: 'nothing-to-import', exit: EXIT.failed },
  E402: { name: 'file-exists', exit: EXIT.refused },
  E403: { name: 'too-long-to-print', exit: EXIT.usage },
  E404: { name: 'import-incomplete', exit: EXIT.failed },
  E405: { name: 'cannot-write', exit: EXIT.failed },
  E406: { name: 'import-may-drop', exit: EXIT.refused },
  E410: { name: 'import-sends-elsewhere', exit: EXIT.refused },
  E411: { name: 'not-expanded', exit: EXIT.badConfig },
  E500: { name: 'cannot-listen', exit: EXIT.unavailable },
  E999: { name: 'internal', exit: EXIT.bug },
  W001: { name: 'everything-passes', exit: EXIT.ok },
  W002: { name: 'everything-dropped', exit: EXIT.ok },
  W003: { name: 'lines-skipped', exit: EXIT.ok },
  W004: { name: 'entries-left-out', exit: EXIT.ok },
  W005: { name: 'no-backends', exit: EXIT.ok },
  W006: { name: 'nothing-balanced', exit: EXIT.ok },
  W007: { name: 'nothing-filtered', exit: EXIT.ok },
  W200: { name: 'interface-skipped', exit: EXIT.ok },
  W201: { name: 'peer-offload-lost', exit: EXIT.ok },
  W202: { name: 'interface-down', exit: EXIT.ok },
  W203: { name: 'mode-not-preferred', exit: EXIT.ok },
  W204: { name: 'member-interface', exit: EXIT.ok },
  W205: { name: 'blocks-everything', exit: EXIT.ok },
  W206: { name: 'counters-restart', exit: EXIT.ok },
  W207: { name: 'nothing-attached', exit: EXIT.ok },
  W208: { name: 'native-unlikely', exit: EXIT.ok },
  W209: { name: 'stale-feed', exit: EXIT.ok },
  W210: { name: 'shrunken-feed', exit: EXIT.ok },
  W211: { name: 'backend-unresolved', exit: EXIT.ok },
  W212: { name: 'vip-is-own', exit: EXIT.ok },
  W213: { name: 'vip-unanswered', exit: EXIT.ok },
  W214: { name: 'not-forwarding', exit: EXIT.ok },
  W215: { name: 'replies-unseen', exit: EXIT.ok },
  W216: { name: 'veth-peer', exit: EXIT.ok },
  W217: { name: 'egress-unlikely', exit: EXIT.ok },
  W218: { name: 'mtu-too-small', exit: EXIT.ok },
  W219: { name: 'mtu-below-usual', exit: EXIT.ok },
  W220: { name: 'cache-unusable', exit: EXIT.ok },
  W221: { name: 'checks-dropped', exit: EXIT.ok },
  W222: { name: 'tags-stripped', exit: EXIT.ok },
  W225: { name: 'answers-dropped', exit: EXIT.ok },
  W227: { name: 'pool-shared-with-host', exit: EXIT.ok },
  W229: { name: 'answers-from-own-vip', exit: EXIT.ok },
  W230: { name: 'backend-as-client', exit: EXIT.ok },
  W231: { name: 'forwarded-dropped', exit: EXIT.ok },
  W232: { name: 'backups-without-checks', exit: EXIT.ok },
  W228: { name: 'readable-secret', exit: EXIT.ok },
  W233: { name: 'path-mtu-unheard', exit: EXIT.ok },
  W240: { name: 'grown-feed', exit: EXIT.ok },
  W241: { name: 'sends-elsewhere', exit: EXIT.ok },
  W242: { name: 'approximated', exit: EXIT.ok },
  W251: { name: 'blocks-own-address', exit: EXIT.ok },
  W252: { name: 'bans-lost', exit: EXIT.ok },
  W245: { name: 'unconfirmed', exit: EXIT.ok },
  W246: { name: 'history-not-kept', exit: EXIT.ok },
  W247: { name: 'file-overruled', exit: EXIT.ok },
  W248: { name: 'last-confirmed', exit: EXIT.ok },
  W249: { name: 'plan-unusable', exit: EXIT.ok },
  W250: { name: 'plan-refused', exit: EXIT.ok },
  W253: { name: 'vlan-without-tags', exit: EXIT.ok },
  W254: { name: 'translated-without-socket', exit: EXIT.ok },
  W255: { name: 'sockets-of-devices-above', exit: EXIT.ok },
  W256: { name: 'check-ports-shared', exit: EXIT.ok },
  W258: { name: 'syn-cookies-limited', exit: EXIT.ok },
  W260: { name: 'syn-protection-elsewhere', exit: EXIT.ok },
  W261: { name: 'never-fetched', exit: EXIT.ok },
  W262: { name: 'fetch-failed', exit: EXIT.ok },
  W263: { name: 'shrunken-download', exit: EXIT.ok },
  W264: { name: 'empty-system', exit: EXIT.ok },
  W265: { name: 'bans-need-watch', exit: EXIT.ok },
  W266: { name: 'limit-ban-refused', exit: EXIT.ok },
  W267: { name: 'syn-protection-untracked', exit: EXIT.ok },
  W270: { name: 'limits-nothing', exit: EXIT.ok },
  W271: { name: 'limits-everything-together', exit: EXIT.ok },
  W272: { name: 'host-without-addresses', exit: EXIT.ok },
  W273: { name: 'allowlist-beats-ban', exit: EXIT.ok },
  W274: { name: 'blocked-by-config', exit: EXIT.ok },
  W275: { name: 'sources-decided-before', exit: EXIT.ok },
  W277: { name: 'mtu-above-native', exit: EXIT.ok },
  W278: { name: 'output-lost', exit: EXIT.ok },
  W280: { name: 'other-build', exit: EXIT.ok },
  W281: { name: 'old-state', exit: EXIT.ok },
  W282: { name: 'old-kernel', exit: EXIT.ok },
  W400: { name: 'not-imported', exit: EXIT.ok },
  W401: { name: 'interface-guessed', exit: EXIT.ok },
  W402: { name: 'replies-dropped', exit: EXIT.ok },
  W403: { name: 'import-widened', exit: EXIT.ok },
  W500: { name: 'metrics-exposed', exit: EXIT.ok },
} as const

export type Code = keyof typeof CODES

/** A place in a file. Line and column count from 1; carets mark `length` columns. */
export interface Location {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly length: number
  /** The source line, shown above the carets. */
  readonly text?: string
}

export interface Diagnostic {
  readonly code: Code
  readonly severity: 'error' | 'warning'
  readonly message: string
  /** A command or a config line that fixes it. */
  readonly hint?: string
  readonly at?: Location
}

/** An expected failure, thrown at room edges. Any other exception is a bug (exit 70). */
export class XdpError extends Error {
  readonly diagnostics: readonly Diagnostic[]
  /** Number of diagnostics that `diagnostics` leaves out. */
  readonly omitted: number

  constructor(diagnostics: readonly Diagnostic[], options: ErrorOptions & { readonly omitted?: number } = {}) {
    super(diagnostics.map(({ code, message }) => `${code} ${message}`).join('\n'), options)
    this.name = 'XdpError'
    this.diagnostics = diagnostics
    this.omitted = options.omitted ?? 0
  }

  /** The exit status of the first error. */
  get exit(): Exit {
    const first = this.diagnostics.find(({ severity }) => severity === 'error')
    return first ? CODES[first.code].exit : EXIT.failed
  }
}

/** Whether the system refused an operation on a file. */
const isRefusal = (error: unknown): error is NodeJS.ErrnoException & { readonly path: string } => {
  const { code, syscall, path } = (error ?? {}) as NodeJS.ErrnoException
  return error instanceof Error && /^E[A-Z0-9]+$/.test(code ?? '') && syscall !== undefined && path !== undefined
}

/** Wraps an exception in an XdpError: a refusal of the file system, or a bug of xdp. */
export function unexpected(error: unknown): XdpError {
  if (isRefusal(error)) {
    const { message, path } = error
    return fail(
      'E265',
      message,
      `see what is wrong with this file system: df ${path.replace(/\/[^/]*$/, '') || '/'}`,
      error,
    )
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const hint = 'this is a bug of xdp; run again with --debug to see where'
  return fail('E999', `unexpected ${message.split('\n')[0]}`, hint, error)
}

/** Makes an XdpError of one error without a place in a file. */
export function fail(code: Code, message: string, hint?: string, cause?: unknown): XdpError {
  return new XdpError([{ code, severity: 'error', message, ...(hint === undefined ? {} : { hint }) }], { cause })
}
