// Explains why the kernel refused a ban: its instance belongs to another network namespace, whose own addresses cannot be
// read here.

import { pinPaths } from '../abi/paths.ts'
import { fail } from '../diagnostics.ts'
import { type Host, ownNetns } from '../kernel/host/host.ts'
import { banNetns } from '../kernel/live/bans.ts'
import { guardNamespace } from '../plan/guard.ts'
import { refuse } from './session.ts'

/** Throws E201 with both namespaces. */
export async function refuseElsewhere({ bpffs, instance }: Host): Promise<never> {
  const [netns, own] = await Promise.all([banNetns(pinPaths(bpffs, instance)), ownNetns()])
  refuse(guardNamespace({ netns, ownNetns: own }))
  throw fail('E108', 'the data plane refused a ban because of its network namespace')
}
