// Formats of list files.

export const FORMATS = ['auto', 'plain', 'jsonl', 'csv', 'ipset'] as const
export type Format = (typeof FORMATS)[number]
