// The parser for each tool.

import { importIpset } from './ipset.ts'
import { importIptables } from './iptables.ts'
import { importIpvsadm } from './ipvsadm.ts'
import { importKeepalived } from './keepalived.ts'
import { importNft } from './nft.ts'
import { type Imported, type Input, SOURCES, type SourceName } from './source.ts'
import { importXdpFilter } from './xdp-filter.ts'

const PARSERS: Readonly<Record<SourceName, (input: Input) => Imported>> = {
  ipset: importIpset,
  nft: importNft,
  'xdp-filter': importXdpFilter,
  iptables: importIptables,
  keepalived: importKeepalived,
  ipvsadm: importIpvsadm,
}

export const isSource = (text: string): text is SourceName => (SOURCES as readonly string[]).includes(text)

/** The output of a tool as lists and a default, or as services. Throws E400 if the tool cannot have printed it. */
export const importFrom = (from: SourceName, input: Input): Imported => PARSERS[from](input)
