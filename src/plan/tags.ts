// Entries for VLANs on interfaces whose devices take the tags out of frames before XDP: they match nothing there.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { coversInterface, taggedInterfaces, taggedScopes } from '../model/scope.ts'
import type { State } from '../model/state.ts'
import { hintOfTags } from './warn-driver.ts'
import { listed } from './words.ts'

/** One warning for each interface on which such entries apply. */
export const warnTagged = (
  state: State,
  { options }: Desired,
  live: Pick<Live, 'stripping' | 'drivers'>,
): Diagnostic[] =>
  taggedInterfaces(state).flatMap((name): Diagnostic[] => {
    const devices = live.stripping.get(name) ?? []
    if (devices.length === 0) return []
    const owners = taggedScopes(state)
      .filter(([, scope]) => coversInterface(scope, name))
      .map(([owner]) => owner)
    const at = options.get(name)?.at
    return [
      {
        code: 'W253',
        severity: 'warning',
        message: `${listed(devices)} ${devices.length === 1 ? 'takes' : 'take'} VLAN tags out of received frames before XDP (rx-vlan-offload), so \`vlan\` of ${listed([...new Set(owners)])} matches no packet on ${name}`,
        hint: hintOfTags(devices, live),
        ...(at && { at }),
      },
    ]
  })
