// A policy as outputs show it: with fingerprints in place of its secrets.

import { createHash } from 'node:crypto'
import { type Policy, SETTING_NAMES, type SettingName, settingOf } from '../model/policy.ts'

/** Identifies a secret of enough random bits without giving it away: 8 hex digits; empty for none. */
const fingerprint = (secret: string): string =>
  secret === '' ? '' : createHash('sha256').update(`xdp ${secret}`).digest('hex').slice(0, 8)

const SECRETS = SETTING_NAMES.filter((name) => settingOf(name).isSecret)

export const shownPolicy = (policy: Policy): Policy => ({
  ...policy,
  ...Object.fromEntries(SECRETS.map((name) => [name, fingerprint(`${policy[name]}`)])),
})

/** The policy of a state in JSON documents: null for settings that have no effect in it; null without a policy. */
export function policyJson(policy: Policy | undefined, hasServices: boolean): Readonly<Record<string, unknown>> | null {
  if (policy === undefined) return null
  const shown = shownPolicy(policy)
  const isIdle = (name: SettingName): boolean => settingOf(name).needsServices === true && !hasServices
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, isIdle(name) ? null : shown[name]]))
}
