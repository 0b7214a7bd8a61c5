// What one instance can hold, as the planner must know it. bpf/include/abi.h sets these numbers; a test compares.

/** Counter slots for interfaces. Slot 0 counts packets that no attached interface accounts for. */
export const INTERFACE_SLOTS = 64
export const FIRST_INTERFACE_SLOT = 1

/** Counter slots for lists. */
export const LIST_SLOTS = 1024

/** Counter slots for services and backends; the last number of the latter says "none". */
export const SERVICE_SLOTS = 1024
export const BACKEND_SLOTS = 0xffff

/** Addresses in the source pools of all services. */
export const POOL_SLOTS = 64
