// Entries as text: JSON with a version first.

import type { StoredEntry } from '../report/history.ts'

/** Version of the files; fields of other versions may have other meanings. */
const FORMAT = 1

const RESULTS: readonly unknown[] = ['running', 'pending', 'applied', 'confirmed', 'reverted', 'failed']
const DIGEST = /^[0-9a-f]{64}$/

const isText = (value: unknown): value is string => typeof value === 'string'
const isDigest = (value: unknown): boolean => isText(value) && DIGEST.test(value)
const isNumber = (value: unknown): boolean => Number.isSafeInteger(value)
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isListOf = (value: unknown, test: (one: unknown) => boolean): boolean => Array.isArray(value) && value.every(test)
const isOptional = (value: unknown, test: (one: unknown) => boolean): boolean => value === undefined || test(value)

const isFile = (value: unknown): boolean =>
  isRecord(value) &&
  isText(value['path']) &&
  isDigest(value['sha256']) &&
  isNumber(value['modifiedAt']) &&
  ['config', 'list'].includes(String(value['kind']))

const isPattern = (value: unknown): boolean =>
  isRecord(value) && isText(value['pattern']) && isListOf(value['matches'], isText)

const isChange = (value: unknown): boolean =>
  isRecord(value) && ['op', 'key', 'impact', 'reason'].every((name) => isText(value[name]))

const COUNTS = ['create', 'update', 'delete', 'replace', 'prefixes_added', 'prefixes_removed'] as const

const isPlan = (value: unknown): boolean => {
  if (!isRecord(value) || !isListOf(value['changes'], isChange) || !isNumber(value['omitted'])) return false
  const { summary } = value as { readonly summary?: unknown }
  return isRecord(summary) && COUNTS.every((name) => isNumber(summary[name]))
}

const isOperator = (value: unknown): boolean =>
  isRecord(value) &&
  isNumber(value['uid']) &&
  ['sudoUser', 'sshClient', 'unit', 'invocationId'].every((name) => isOptional(value[name], isText))

const isProcess = (value: unknown): boolean =>
  isRecord(value) && isNumber(value['pid']) && isText(value['pid_namespace']) && isNumber(value['started'])

const isOverruled = (value: unknown): boolean =>
  isRecord(value) && isText(value['path']) && isListOf(value['sha256'], isDigest)

function isEntry(value: Readonly<Record<string, unknown>>): boolean {
  const { config, action, result } = value as Partial<StoredEntry>
  return (
    isText(value['at']) &&
    isNumber(value['number']) &&
    isProcess(value['writer']) &&
    (action === 'apply' || action === 'rollback') &&
    RESULTS.includes(result) &&
    isRecord(config) &&
    isText(config.path) &&
    isDigest(config.sha256) &&
    isOperator(value['by']) &&
    isPlan(value['plan']) &&
    isListOf(value['distrusted'], isText) &&
    isListOf(value['files'], isFile) &&
    isListOf(value['patterns'], isPattern) &&
    isOptional(value['restores'], isNumber) &&
    isOptional(value['generation'], isNumber) &&
    isOptional(value['confirmation'], isText) &&
    isOptional(value['overrules'], isOverruled)
  )
}

export const encodeEntry = (entry: StoredEntry): string => `${JSON.stringify({ format: FORMAT, ...entry })}\n`

/** The entry in a text; undefined if it is damaged, of a later version, or has another number. */
export function decodeEntry(text: string, number: number): StoredEntry | undefined {
  try {
    const { format, ...entry } = JSON.parse(text) as Readonly<Record<string, unknown>>
    const isOurs = format === FORMAT && isEntry(entry) && entry['number'] === number
    return isOurs ? (entry as unknown as StoredEntry) : undefined
  } catch {
    return undefined
  }
}
