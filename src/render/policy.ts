// A policy as outputs show it: with fingerprints in place of its secrets.

import { createHash } from 'node:crypto'
import { type Policy, SETTING_NAMES, type SettingName, settingOf } from '../model/policy.ts'

/** Identifies a secret of enough random bits without giving it away: 8 hex digits; empty for none. */
const fingerprint = (secret: string): string =>
  secret === '' ? '' : createHash('sha256').update(`xdp ${secret}`).digest('hex').slice(0, 8)

/** A secret of an exported state is its fingerprint already; a key itself is longer. */
const FINGERPRINT = /^[0-9a-f]{8}$/

const shownSecret = (secret: string): string => (FINGERPRINT.test(secret) ? secret : fingerprint(secret))

/** Whether only the fingerprint of the hash key is known: of an exported policy. */
export const isKeyHidden = (policy: Policy | undefined): boolean => FINGERPRINT.test(policy?.hash_key ?? '')

const SECRETS = SETTING_NAMES.filter((name) => settingOf(name).isSecret)

export const shownPolicy = (policy: Policy): Policy => ({
  ...policy,
  ...Object.fromEntries(SECRETS.map((name) => [name, shownSecret(`${policy[name]}`)])),
})

/** The policy of a state in JSON documents: null for settings that have no effect in it; null without a policy. */
export function policyJson(policy: Policy | undefined, hasServices: boolean): Readonly<Record<string, unknown>> | null {
  if (policy === undefined) return null
  const shown = shownPolicy(policy)
  const isIdle = (name: SettingName): boolean => settingOf(name).needsServices === true && !hasServices
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, isIdle(name) ? null : shown[name]]))
}

/** An exported policy with the secrets of another one where they have the same fingerprint. */
export function withSecretsOf(exported: Policy, known: Policy): Policy {
  const [left, right] = [shownPolicy(exported), shownPolicy(known)]
  const same = SECRETS.filter((name) => left[name] === right[name]).map((name) => [name, known[name]])
  return { ...exported, ...Object.fromEntries(same) }
}
