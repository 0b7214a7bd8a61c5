// The settings of a policy in the settings line of an image (struct settings). A setting with a number has the field of
// its name; those with words are flags.

import { SETTINGS_FLAG, type Settings } from '../../abi/generated.ts'
import { type Policy, SETTING_NAMES } from '../../model/policy.ts'

/** Settings with a number. A name here that is no field of struct settings is an error of types. */
type NumberName = { [K in keyof Policy]: Policy[K] extends number ? K : never }[keyof Policy]
type Numbers = Pick<Settings, NumberName>

const FLAGGED: Readonly<Record<Exclude<keyof Policy, NumberName>, true>> = { default: true }

const NUMBER_NAMES = SETTING_NAMES.filter((name) => !(name in FLAGGED)) as readonly NumberName[]

const numbersOf = (from: Numbers): Numbers =>
  Object.fromEntries(NUMBER_NAMES.map((name) => [name, from[name]])) as unknown as Numbers

/** Fields of the line; `flags` may be completed with flags that are no settings. */
export const settingsFields = (policy: Policy): Pick<Settings, 'flags'> & Numbers => ({
  ...numbersOf(policy),
  flags: policy.default === 'drop' ? SETTINGS_FLAG.DEFAULT_DROP : 0,
})

/** The settings that a line holds. */
export const policyOf = ({ settings }: { readonly settings: Settings }): Policy => ({
  ...numbersOf(settings),
  default: settings.flags & SETTINGS_FLAG.DEFAULT_DROP ? 'drop' : 'pass',
})
