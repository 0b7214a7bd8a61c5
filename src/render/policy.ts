// A policy as outputs show it: with fingerprints in place of its secrets.

import { createHash } from 'node:crypto'
import { type Policy, SETTING_NAMES, settingOf } from '../model/policy.ts'

/** Identifies a secret of enough random bits without giving it away: 8 hex digits; empty for none. */
const fingerprint = (secret: string): string =>
  secret === '' ? '' : createHash('sha256').update(`xdp ${secret}`).digest('hex').slice(0, 8)

const SECRETS = SETTING_NAMES.filter((name) => settingOf(name).isSecret)

export const shownPolicy = (policy: Policy): Policy => ({
  ...policy,
  ...Object.fromEntries(SECRETS.map((name) => [name, fingerprint(`${policy[name]}`)])),
})
