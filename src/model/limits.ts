// What one instance can hold, as the planner must know it. bpf/include/abi.h sets these numbers; a test compares.

/** Counter slots for interfaces. Slot 0 counts packets that no attached interface accounts for. */
export const INTERFACE_SLOTS = 64
export const FIRST_INTERFACE_SLOT = 1

/** Counter slots for lists. */
export const LIST_SLOTS = 1024
