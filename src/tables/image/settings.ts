// The settings of a policy in the settings line of an image (struct settings).

import { ESSENTIAL, ESSENTIAL_DEFAULT, SETTINGS_FLAG, type Settings } from '../../abi/generated.ts'
import { ESSENTIAL_GROUPS, type EssentialGroup, type Policy } from '../../model/policy.ts'

const bitOf = (group: EssentialGroup): number => ESSENTIAL[group.toUpperCase() as Uppercase<EssentialGroup>]

const bitsOf = (groups: readonly EssentialGroup[]): number => groups.reduce((bits, group) => bits | bitOf(group), 0)

/** Fields of the line; `flags` may be completed with flags that are no settings. */
export const settingsFields = ({
  default: verdict,
  unparsed,
  essential,
  flows,
}: Policy): Pick<Settings, 'flags' | 'flows' | 'essential'> => ({
  flags:
    (verdict === 'drop' ? SETTINGS_FLAG.DEFAULT_DROP : 0) | (unparsed === 'drop' ? SETTINGS_FLAG.UNPARSED_DROP : 0),
  flows,
  essential: bitsOf(essential) ^ ESSENTIAL_DEFAULT,
})

/** The settings that a line holds. */
export const policyOf = ({ settings: { flags, flows, essential } }: { readonly settings: Settings }): Policy => ({
  default: flags & SETTINGS_FLAG.DEFAULT_DROP ? 'drop' : 'pass',
  unparsed: flags & SETTINGS_FLAG.UNPARSED_DROP ? 'drop' : 'pass',
  essential: ESSENTIAL_GROUPS.filter((group) => (essential ^ ESSENTIAL_DEFAULT) & bitOf(group)),
  flows,
})
