// The findings about the XDP programs on an interface. Pure.

import type { AttachMode } from '../../model/state.ts'
import type { Check } from '../../report/result.ts'
import type { Card, CardProgram } from './cards.ts'
import { ok, warn } from './check.ts'
import type { Wanted } from './level.ts'

const DETACH: Readonly<Record<AttachMode, string>> = { native: 'xdpdrv', generic: 'xdpgeneric', offload: 'xdpoffload' }

function checkForeign(card: Card, program: CardProgram): Check {
  const id = `interface.${card.name}.program`
  const name = program.name === '' ? '' : ` ${program.name}`
  const description = `program${name} (id ${program.id}, ${program.mode} mode)`
  if (program.owner === 'unknown')
    return warn(id, `${description} is attached; only root can see its owner`, 'sudo xdp doctor')
  if (program.instance !== undefined) {
    const message = `${description} of instance ${program.instance} is attached`
    return warn(
      id,
      message,
      `remove ${card.name} from its config; to remove that instance from every interface: xdp destroy --instance ${program.instance}`,
    )
  }
  if (program.name === 'xdp_dispatcher') {
    const message = `the dispatcher of libxdp (id ${program.id}, ${program.mode} mode) is attached, with the programs of its chain`
    const unload = `xdp-loader unload ${card.name}`
    return warn(
      id,
      message,
      `\`xdp-loader status\` lists them; to remove one: ${unload} --id ID; to remove all: ${unload} --all`,
    )
  }
  const detach = `bpftool net detach ${DETACH[program.mode]} dev ${card.name}`
  return warn(
    id,
    `${description} is attached and not ours`,
    `to keep it behind ours, write \`on_conflict: chain\` under ${card.name}; to end it, \`on_conflict: replace\`, or: ${detach}`,
  )
}

/** One finding for each program, or that there is none. */
export function checkPrograms(card: Card, wanted: Wanted): Check[] {
  const id = `interface.${card.name}.program`
  const foreign = card.programs.filter(({ owner }) => owner !== 'ours').map((program) => checkForeign(card, program))
  const ours = card.programs.find(({ owner }) => owner === 'ours')
  if (!ours) return foreign.length > 0 ? foreign : [ok(id, 'no XDP program is attached')]
  if (wanted?.[0] === 'native' && ours.mode === 'generic') {
    const fix = `write \`mode: native\` under ${card.name} to let apply switch it, with a short traffic gap`
    return [...foreign, warn(id, `our program ${ours.id} is attached in generic mode, though native is preferred`, fix)]
  }
  return [...foreign, ok(id, `our program ${ours.id} is attached in ${ours.mode} mode`)]
}
