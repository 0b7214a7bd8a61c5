// Renders the history as text and as JSON (schemas/history.schema.json).

import { formatCount } from '../model/numbers.ts'
import type { BriefChange, ChangeCounts, DamagedEntry, HistoryEntry, Operator } from '../report/history.ts'
import { jsonDocument } from './json.ts'
import { keyTitle } from './names.ts'
import { seconds } from './numbers.ts'
import { type Paint, paint } from './paint.ts'
import { type Column, formatTable } from './table.ts'

const left = (title: string): Column => ({ title })
const right = (title: string): Column => ({ title, align: 'right' })

/** Names of users, units and files must not steer the terminal; lines and tabs of a config stay. */
const plain = (text: string): string => text.replace(/(?![\n\t])[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd')

/** `uid 0 (anna), SSH client 192.0.2.9, session-3.scope`; `brief`: the most telling word. */
function operatorText({ uid, sudoUser, sshClient, unit }: Operator, brief: boolean): string {
  if (brief)
    return plain([sudoUser ?? (sshClient ? `uid ${uid}` : (unit ?? `uid ${uid}`)), sshClient].filter(Boolean).join(' '))
  const user = sudoUser === undefined ? `uid ${uid}` : `uid ${uid} by sudo of ${sudoUser}`
  return plain([user, sshClient && `SSH client ${sshClient}`, unit && `unit ${unit}`].filter(Boolean).join(', '))
}

/** `+1 ~2 -0`, and the prefixes. */
function countsText({ create, update, delete: removed, replace, ...prefixes }: ChangeCounts): string {
  const replaced = replace > 0 ? ` -/+${replace}` : ''
  return `+${create} ~${update} -${removed}${replaced} ${prefixText(prefixes)}`.trimEnd()
}

const prefixText = (counts: Pick<ChangeCounts, 'prefixes_added' | 'prefixes_removed'>): string => {
  const { prefixes_added: added, prefixes_removed: removed } = counts
  return added + removed === 0 ? '' : `(+${formatCount(added)} -${formatCount(removed)} prefixes)`
}

const configText = ({ config, restores }: HistoryEntry): string =>
  restores === undefined
    ? `${plain(config.path)} ${config.sha256.slice(0, 12)}`
    : `rollback to ${restores} ${config.sha256.slice(0, 12)}`

export interface HistoryView {
  /** Number of the entry whose policy is in force. */
  readonly current: number | undefined
  readonly color: boolean
}

/** The entries as a table, newest first. */
export function renderHistory(
  entries: readonly (HistoryEntry | DamagedEntry)[],
  { current, color }: HistoryView,
): string {
  if (entries.length === 0) return 'The history is empty: no apply has changed anything yet.\n'
  const { yellow } = paint(color)
  const readable = entries.flatMap((entry) => ('problem' in entry ? [] : [entry]))
  const rows = readable.map((entry) => [
    `${entry.number === current ? '*' : ' '} ${entry.number}`,
    seconds(entry.at),
    entry.result,
    operatorText(entry.by, true),
    countsText(entry.plan.summary),
    configText(entry),
  ])
  const columns = [right('N'), left('TIME'), left('RESULT'), left('BY'), left('CHANGES'), left('CONFIG')]
  const damaged = entries.flatMap((entry) =>
    'problem' in entry ? [`${yellow('!')} ${entry.number}: ${plain(entry.problem)}`] : [],
  )
  const lines = rows.length > 0 ? formatTable(columns, rows) : []
  return `${[...lines, ...damaged].join('\n')}\n`
}

/** An entry with the texts of its config. */
export interface ShownEntry {
  readonly entry: HistoryEntry
  /** Paths of files whose content is not kept. */
  readonly lost: readonly string[]
  /** The config and its included files; undefined: not kept. */
  readonly texts: readonly (readonly [path: string, text: string | undefined])[]
}

const SIGNS = { create: '+', update: '~', delete: '-', replace: '-/+' } as const

const changeLine = ({ op, key, impact, reason }: BriefChange): string =>
  `  ${SIGNS[op].padStart(3)} ${keyTitle(key)}  ${impact} (${reason})`

function footer({ create, update, delete: removed, replace, ...prefixes }: ChangeCounts): string {
  const replaced = replace > 0 ? `, ${formatCount(replace)} replaced` : ''
  return `${formatCount(create)} created, ${formatCount(update)} updated, ${formatCount(removed)} deleted${replaced} ${prefixText(prefixes)}`.trimEnd()
}

function facts({ entry, lost }: ShownEntry): [string, string][] {
  const { at, by, config, generation, confirmation, restores, overrules, distrusted, plan } = entry
  const optional: readonly (readonly [string, string | number | undefined])[] = [
    ['Restores', restores],
    ['Overrules', overrules && `${plain(overrules.path)}, as long as that file is as it was`],
    ['Generation', generation],
    ['Confirmation', confirmation],
    ['Lists with other content than their files', distrusted.length > 0 ? distrusted.join(', ') : undefined],
    ['Not kept', lost.length > 0 ? plain(lost.join(', ')) : undefined],
  ]
  return [
    ['Time', seconds(at)],
    ['By', operatorText(by, false)],
    ['Config', `${plain(config.path)} (sha256 ${config.sha256.slice(0, 12)})`],
    ...optional.flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, String(value)]])),
    ['Changes', footer(plan.summary)],
  ]
}

function textBlock([path, text]: ShownEntry['texts'][number], { bold, dim }: Paint): string[] {
  const lines = text === undefined ? [dim('(not kept)')] : plain(text).replace(/\n$/, '').split('\n')
  return ['', bold(`--- ${plain(path)}`), ...lines]
}

/** One entry with its config. */
export function renderEntry(shown: ShownEntry, { current, color }: HistoryView): string {
  const style = paint(color)
  const { entry, texts } = shown
  const { number, action, result, plan } = entry
  const title = action === 'rollback' ? `Apply ${number}, a rollback` : `Apply ${number}`
  const now = number === current ? ', in force' : ''
  const more = plan.omitted > 0 ? [`  ... and ${formatCount(plan.omitted)} more`] : []
  return `${[
    style.bold(`${title}: ${result}${now}`),
    ...facts(shown).map(([name, value]) => `${name}: ${value}`),
    ...plan.changes.map(changeLine),
    ...more,
    ...texts.flatMap((text) => textBlock(text, style)),
  ].join('\n')}\n`
}

const operatorJson = ({ uid, sudoUser, sshClient, unit, invocationId }: Operator) => ({
  uid,
  sudo_user: sudoUser ?? null,
  ssh_client: sshClient ?? null,
  unit: unit ?? null,
  invocation_id: invocationId ?? null,
})

export const entryJson = (entry: HistoryEntry, current: number | undefined) => ({
  number: entry.number,
  at: entry.at,
  action: entry.action,
  result: entry.result,
  in_force: entry.number === current,
  restores: entry.restores ?? null,
  overrules: entry.overrules ?? null,
  confirmation: entry.confirmation ?? null,
  generation: entry.generation ?? null,
  config: entry.config,
  by: operatorJson(entry.by),
  summary: entry.plan.summary,
  changes: entry.plan.changes,
  omitted: entry.plan.omitted,
  distrusted: entry.distrusted,
  files: entry.files.map(({ path, sha256, kind }) => ({ path, sha256, kind })),
})

export function renderHistoryJson(
  entries: readonly (HistoryEntry | DamagedEntry)[],
  { current }: Pick<HistoryView, 'current'>,
): string {
  return jsonDocument({
    entries: entries.flatMap((entry) => ('problem' in entry ? [] : [entryJson(entry, current)])),
    damaged: entries.filter((entry) => 'problem' in entry),
  })
}

export function renderEntryJson({ entry, lost, texts }: ShownEntry, { current }: Pick<HistoryView, 'current'>): string {
  return jsonDocument({
    entries: [entryJson(entry, current)],
    damaged: [],
    not_kept: lost,
    texts: texts.map(([path, text]) => ({ path, text: text ?? null })),
  })
}

/** The rollback in force, as lines of status. */
export const rollbackLines = ({ number, restores, at, overrules }: HistoryEntry, color: boolean): string[] => [
  `${paint(color).yellow('!')} Rolled back to apply ${restores} at ${seconds(at)}${overrules ? `, in place of ${plain(overrules.path)} (apply ${number})` : ''}`,
]

export const rollbackJson = ({ number, restores, at, overrules }: HistoryEntry) => ({
  apply: number,
  restores: restores ?? null,
  at,
  config: overrules?.path ?? null,
})
