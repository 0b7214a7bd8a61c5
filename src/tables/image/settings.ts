// The settings of a policy in the settings line of an image (struct settings).

import { SETTINGS_FLAG, type Settings } from '../../abi/generated.ts'
import type { Policy } from '../../model/policy.ts'

/** Fields of the line; `flags` may be completed with flags that are no settings. */
export const settingsFields = ({ default: verdict, flows }: Policy): Pick<Settings, 'flags' | 'flows'> => ({
  flags: verdict === 'drop' ? SETTINGS_FLAG.DEFAULT_DROP : 0,
  flows,
})

/** The settings that a line holds. */
export const policyOf = ({ settings: { flags, flows } }: { readonly settings: Settings }): Policy => ({
  default: flags & SETTINGS_FLAG.DEFAULT_DROP ? 'drop' : 'pass',
  flows,
})
