// Capacities of one instance that the planner must know. bpf/include/abi.h defines these numbers; a test compares them.

/** Counter slots for interfaces. Slot 0 counts packets of no attached interface. */
export const INTERFACE_SLOTS = 64
export const FIRST_INTERFACE_SLOT = 1

/** Counter slots for lists. */
export const LIST_SLOTS = 1024

/** Counter slots for services and backends; the last backend number means "none". */
export const SERVICE_SLOTS = 1024
export const BACKEND_SLOTS = 0xffff

/** Number of different sets of interfaces in the scopes of one policy. */
export const INTERFACE_SETS = 64

/** Ports and ranges of one service. */
export const PORT_RANGES = 16

/** Number of backups of one service. */
export const BACKUPS_A_SERVICE = 655

/** Counter slots for rate limits. */
export const RATE_LIMITS = 64

/** Ranges of destinations of one entry. */
export const MATCH_DESTINATIONS = 64

/** Number of addresses in the source pools of all services. */
export const POOL_SLOTS = 64

/** Source ports of health checks through VIPs. */
export const CHECK_PORTS = { first: 61_000, last: 65_095 } as const
