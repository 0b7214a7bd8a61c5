// Names of the tables whose fill `xdp stats` shows, in the order of its rows: values of `name` in its JSON and of the
// label `table`. Each has a description of its entries in Markdown, which completes "holds …" in docs/metrics.md.

import { FEATURES } from './features.ts'

/** The tables of every policy. */
export const POLICY_ROWS = {
  interfaces: 'interfaces of the instance',
  lists: 'lists, each with a counter',
  scopes: 'distinct protocols and ports, counted per list',
  classes: 'sets of lists and scopes that cover an address',
  services: 'services',
  backends: 'backends of all services, sorry and leaving backends included',
} as const

/** Those of the features included. */
export const ROWS: Readonly<Record<string, string>> = Object.assign(
  {},
  POLICY_ROWS,
  ...FEATURES.map(({ gauges }) => gauges?.rows),
)
