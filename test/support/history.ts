// Entries of a history, and the sources of a config.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { SourceFile } from '../../src/model/sources.ts'
import type { EntryDraft, HistoryEntry } from '../../src/report/history.ts'

export const digestOf = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex')

const NO_CHANGES = { create: 0, update: 1, delete: 0, replace: 0, prefixes_added: 1, prefixes_removed: 0 }

/** An apply of the config with this text. */
export const draft = (text: string, rest: Partial<EntryDraft> = {}): EntryDraft => ({
  at: '2026-11-29T12:00:00.000Z',
  writer: { pid: 1, pid_namespace: '1', started: 1 },
  action: 'apply',
  config: { path: '/etc/xdp/xdp.yaml', sha256: digestOf(text) },
  result: 'applied',
  by: { uid: 0 },
  plan: {
    summary: NO_CHANGES,
    changes: [{ op: 'update', key: 'list:blocklist', impact: 'hitless', reason: 'config-changed' }],
    omitted: 0,
  },
  distrusted: [],
  files: [{ path: '/etc/xdp/xdp.yaml', sha256: digestOf(text), modifiedAt: 1, kind: 'config' }],
  patterns: [],
  ...rest,
})

/** The entry of an apply as reported. */
export const entry = (number: number, text: string, rest: Partial<HistoryEntry> = {}): HistoryEntry => ({
  ...draft(text),
  number,
  ...rest,
})

/** The config with this text. */
export const source = (text: string, path = '/etc/xdp/xdp.yaml'): SourceFile => ({
  path,
  sha256: digestOf(text),
  modifiedAt: 1,
  text: Buffer.from(text),
})

/** A list file on the disk. */
export const listSource = (path: string): SourceFile => ({
  path,
  sha256: digestOf(readFileSync(path)),
  modifiedAt: 1,
  text: undefined,
})
