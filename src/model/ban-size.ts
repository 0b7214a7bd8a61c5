// The size of the table of bans: its memory, and the bans in force that must fit into it.

import type { Diagnostic } from '../diagnostics.ts'
import { formatCount } from './numbers.ts'

const MIB = 2 ** 20

/** Bytes of the table of bans for each ban that it has room for: its hash, and its filter. */
const BAN_ROOM = 20
/** Bytes of a ban in the table. */
const BAN_BYTES = 190

/** Kernel memory of a table of bans, as words. */
export const banMemory = (bans: number): string => {
  const mib = (bytes: number): string => (bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)
  return `${mib(bans * BAN_ROOM)} MiB, ${mib(bans * (BAN_ROOM + BAN_BYTES))} MiB full`
}

/** E136 for a table of `size` bans. `bans`: in force; undefined: not counted. */
export function doNotFit(size: number, bans?: number): Diagnostic {
  const found = bans === undefined ? 'more bans are in force' : `${formatCount(bans)} bans are in force`
  return {
    code: 'E136',
    severity: 'error',
    message: `${found} than a table of ${formatCount(size)} holds (limits.bans); nothing was changed`,
    hint: 'write a larger `limits.bans`, or lift bans first: `xdp unban --by NAME`',
  }
}
