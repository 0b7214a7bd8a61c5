// Ethertypes that are not IP, and which of them are protocols of the link: they configure or watch it, and carry no IP packet
// to this host, so that they pass where frames that are not IP are dropped. docs/filter.md lists them.

export const ARP = 0x0806

/** IEEE 802.3 §3.2.6: smaller numbers are lengths of frames with LLC, such as STP and CDP; Linux takes no IP from those. */
const FIRST_ETHERTYPE = 0x0600

/** By ethertype: the name as in docs/filter.md. */
export const LINK_PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [ARP, 'ARP'],
  [0x8035, 'RARP'],
  [0x8809, 'slow protocols: LACP, OAM'],
  [0x88cc, 'LLDP'],
  [0x888e, 'EAPOL (802.1X)'],
  [0x88c7, '802.11 pre-authentication'],
  [0x8863, 'PPPoE discovery'],
  [0x88e5, 'MACsec'],
  [0x88f7, 'PTP'],
  [0x8902, 'CFM'],
  [0x22ea, 'MSRP'],
  [0x88f5, 'MVRP'],
  [0x88f6, 'MMRP'],
  [0x8906, 'FCoE'],
  [0x8914, 'FIP'],
  [0x88a2, 'ATA over Ethernet'],
])

export const isLinkProtocol = (ethertype: number): boolean =>
  ethertype < FIRST_ETHERTYPE || LINK_PROTOCOLS.has(ethertype)
