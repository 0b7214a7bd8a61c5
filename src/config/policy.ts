// Reads the settings of the policy. Setting one in two files is an error that names both places, because otherwise the
// names of the files would decide which of them holds.

import { DEFAULT_POLICY, type Policy, SETTING_NAMES, type SettingName, settingOf } from '../model/policy.ts'
import { lineOf, type Part, reportTwice, soundField } from './text/part.ts'
import type { Report } from './text/report.ts'
import type { Placed } from './text/tree.ts'

/** The key of a setting in a file; undefined if it is missing or has an error, or is read elsewhere. */
const placeOf = (part: Part, [outer, inner]: readonly [string, string?]): Placed | undefined =>
  inner === undefined ? undefined : soundField(part, outer, inner)

/** The value of a setting; undefined: no file sets it. */
function readSetting(name: SettingName, parts: readonly Part[], report: Report): unknown {
  const { config, round = (written) => written } = settingOf(name)
  let first: { readonly at: string; readonly value: unknown } | undefined
  for (const part of parts) {
    const placed = placeOf(part, config)
    if (placed === undefined) continue
    if (first === undefined) first = { at: lineOf(part, placed), value: placed.value }
    else reportTwice(config.join('.'), part, placed, first.at, report)
  }
  return first && round(first.value)
}

/** Settings that have readers of their own. */
export type OwnSettings = Pick<Policy, 'protect' | 'anomalies' | 'syn_protection'>

/** The policy of all files of a config. */
export function readPolicy(parts: readonly Part[], own: OwnSettings, report: Report): Policy {
  const written = new Map<string, unknown>(SETTING_NAMES.map((name) => [name, readSetting(name, parts, report)]))
  const inForce = (name: string): unknown => {
    const { initial, follows } = settingOf(name as SettingName)
    return written.get(name) ?? (follows === undefined ? initial : follows.value(inForce(follows.setting)))
  }
  return { ...DEFAULT_POLICY, ...Object.fromEntries(SETTING_NAMES.map((name) => [name, inForce(name)])), ...own }
}
