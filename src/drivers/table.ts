// The table of drivers.

import { BOARDS } from './boards.ts'
import { CARDS } from './cards.ts'
import type { Driver } from './driver.ts'
import { VIRTUAL } from './virtual.ts'

/** By the name that `ethtool -i` prints. */
export const DRIVERS: Readonly<Record<string, Driver>> = { ...VIRTUAL, ...CARDS, ...BOARDS }

/** The driver of this name; undefined: it is not in the table. */
export const driverNamed = (name: string | undefined): Driver | undefined =>
  name !== undefined && Object.hasOwn(DRIVERS, name) ? DRIVERS[name] : undefined
