// The host that a config is for: `destination: host`.

import type { Address } from '../../model/address.ts'
import { formatAddress } from '../../model/text.ts'

/** The addresses of the host that the config is for, which `destination: host` stands for. */
export interface OwnHost {
  readonly read: () => Promise<readonly Address[]>
  /** undefined: not read yet. */
  addresses: readonly Address[] | undefined
  /** Whether an entry asked for them. */
  isNamed: boolean
}

/** Equal for equal addresses, in whatever order. */
export const hostText = (addresses: readonly Address[]): string =>
  addresses
    .map(({ family, words }) => formatAddress(family, words))
    .sort()
    .join()

/** Whether a host that a config names has other addresses now. */
export async function hasOtherAddresses({ isNamed, addresses: before, read }: OwnHost): Promise<boolean> {
  if (!isNamed || before === undefined) return false
  // A failed reading has no news; the next event reads again.
  return hostText(before) !== hostText(await read().catch(() => before))
}
