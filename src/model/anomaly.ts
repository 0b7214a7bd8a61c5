// Anomalies: packets such as no ordinary sender sends. The policy names those that it looks for.

/** In the order of `enum anomaly` (bpf/include/abi_anomalies.h): a packet of several is dropped as the first. */
export const ANOMALY_NAMES = [
  'land',
  'martians',
  'bogons',
  'tcp_null',
  'tcp_xmas',
  'tcp_syn_fin',
  'tcp_syn_rst',
  'bad_length',
  'ip_options',
  'tiny_fragments',
] as const

export type AnomalyName = (typeof ANOMALY_NAMES)[number]

/** Anomalies that the addresses of a packet make. On lo, any source is right. */
export const ADDRESS_ANOMALIES: ReadonlySet<AnomalyName> = new Set(['land', 'martians', 'bogons'])

/** An anomaly that a policy looks for. */
export interface Anomaly {
  readonly name: AnomalyName
  /** `observe`: packets are counted and go on. */
  readonly action: 'drop' | 'observe'
  /** Sorted; undefined: every interface. */
  readonly interfaces?: readonly string[] | undefined
}

/** `land`, `bogons on wan0 wan1`, `ip_options observe`. */
export const anomalyText = ({ name, action, interfaces }: Anomaly): string =>
  [name, ...(action === 'observe' ? [action] : []), ...(interfaces ? ['on', ...interfaces] : [])].join(' ')

/** The inverse of anomalyText. */
export function parseAnomaly(text: string): Anomaly {
  const [name, ...words] = text.split(' ')
  const isObserved = words[0] === 'observe'
  const interfaces = words.slice(isObserved ? 2 : 1)
  return {
    name: name as AnomalyName,
    action: isObserved ? 'observe' : 'drop',
    ...(interfaces.length > 0 && { interfaces }),
  }
}

const rank = ({ name }: Anomaly): number => ANOMALY_NAMES.indexOf(name)

/** The texts of anomalies in the order in which packets are asked for them, so that equal sets are equal. */
export const anomalyTexts = (anomalies: readonly Anomaly[]): readonly string[] =>
  anomalies.toSorted((a, b) => rank(a) - rank(b)).map(anomalyText)
