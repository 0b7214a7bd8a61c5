// Probes with an anomaly in their headers: a sound frame, bent.

import { ADDRESS_ANOMALIES, type AnomalyName } from '../model/anomaly.ts'

export type HeaderAnomaly = Exclude<AnomalyName, 'land' | 'martians' | 'bogons'>

export const isHeaderAnomaly = (name: AnomalyName): name is HeaderAnomaly => !ADDRESS_ANOMALIES.has(name)

const IP = 14
const TRANSPORT = IP + 20
/** RFC 9293 §3.1 */
const FLAGS = { tcp_null: 0, tcp_xmas: 0x29, tcp_syn_fin: 3, tcp_syn_rst: 6 } as const
/** RFC 791 §3.1: "more fragments", and an option of one byte that does nothing. */
const MORE_FRAGMENTS = 0x2000
const NO_OPERATION = 1

/** The protocol that the anomaly needs. */
export const protocolOf = (name: HeaderAnomaly): 'tcp' | 'udp' =>
  name === 'bad_length' || name === 'ip_options' ? 'udp' : 'tcp'

/** Bends a frame of Ethernet, IPv4 without options, and TCP or UDP as protocolOf says. Its checksums are not adjusted. */
export function oddFrame(frame: Uint8Array, name: HeaderAnomaly): Uint8Array {
  const odd = frame.slice()
  const view = new DataView(odd.buffer)
  switch (name) {
    case 'bad_length':
      view.setUint16(TRANSPORT + 4, 7)
      return odd
    case 'ip_options': {
      const longer = Uint8Array.of(
        ...odd.subarray(0, TRANSPORT),
        ...new Array(4).fill(NO_OPERATION),
        ...odd.subarray(TRANSPORT),
      )
      longer[IP] = 0x46
      new DataView(longer.buffer).setUint16(IP + 2, view.getUint16(IP + 2) + 4)
      return longer
    }
    case 'tiny_fragments':
      view.setUint16(IP + 2, 28)
      view.setUint16(IP + 6, MORE_FRAGMENTS)
      return odd.subarray(0, TRANSPORT + 8)
    default:
      view.setUint8(TRANSPORT + 13, FLAGS[name])
      return odd
  }
}
