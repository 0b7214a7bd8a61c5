// Which parser reads what.

import { importIpset } from './ipset.ts'
import { importIptables } from './iptables.ts'
import { importNft } from './nft.ts'
import { type Imported, type Input, SOURCES, type SourceName } from './source.ts'
import { importXdpFilter } from './xdp-filter.ts'

const PARSERS: Readonly<Record<SourceName, (input: Input) => Imported>> = {
  ipset: importIpset,
  nft: importNft,
  'xdp-filter': importXdpFilter,
  iptables: importIptables,
}

export const isSource = (text: string): text is SourceName => (SOURCES as readonly string[]).includes(text)

/** What a tool printed, as lists and a default. Throws E400 where it is not what the tool prints. */
export const importFrom = (from: SourceName, input: Input): Imported => PARSERS[from](input)
