// The policy in JSON documents about a state.

import { type Policy, SETTING_NAMES, type SettingName, settingOf, shownPolicy } from '../model/policy.ts'

/** The policy of a state with fingerprints of its secrets, null for settings that have no effect in it; null without a policy. */
export function policyJson(policy: Policy | undefined, hasServices: boolean): Readonly<Record<string, unknown>> | null {
  if (policy === undefined) return null
  const shown = shownPolicy(policy)
  const isIdle = (name: SettingName): boolean => settingOf(name).needsServices === true && !hasServices
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, isIdle(name) ? null : shown[name]]))
}
