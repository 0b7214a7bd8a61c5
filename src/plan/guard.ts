// What a plan must not do. A guard only reads, and answers with errors; where it answers, nothing is changed.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired, InterfaceOptions } from '../model/desired.ts'
import type { AttachedProgram, Live } from '../model/live.ts'
import { nearest } from '../model/nearest.ts'
import type { AttachMode } from '../model/state.ts'
import { foreignPrograms } from './attachments.ts'
import { guardServices } from './guard-services.ts'

/** The words of `bpftool net attach` and `detach` for each mode. */
const ATTACH_TYPE = { native: 'xdpdrv', generic: 'xdpgeneric', offload: 'xdpoffload' } as const satisfies Record<
  AttachMode,
  string
>

function loadTime({ loadedAt }: AttachedProgram): string {
  return loadedAt === 0 ? '' : `, loaded ${new Date(loadedAt * 1000).toISOString().replace('.000Z', 'Z')}`
}

/** What the program's name tells about whose it is. */
function origin({ name }: AttachedProgram): string {
  if (name === 'xdp_dispatcher')
    return ' It is the dispatcher of libxdp: replacing it takes every program of its chain off the interface; `xdp-loader status` lists them.'
  if (name === 'xdp_filter')
    return ' It has the name of our own program: most likely ours, of another --instance, or one whose pins were lost (bpffs unmounted or emptied).'
  return ''
}

function foreignProgram(name: string, program: AttachedProgram, { at }: InterfaceOptions): Diagnostic {
  const identity = [`id ${program.id}`, program.name && `name ${program.name}`, program.tag && `tag ${program.tag}`]
  return {
    code: 'E200',
    severity: 'error',
    message:
      `interface ${name} already runs an XDP program that is not ours: ${identity.filter(Boolean).join(', ')}, ` +
      `${program.mode} mode${loadTime(program)}.${origin(program)}`,
    hint:
      `write \`on_conflict: replace\` under interfaces.${name} to take its place, ` +
      `or detach it: bpftool net detach ${ATTACH_TYPE[program.mode]} dev ${name}`,
    at,
  }
}

function missingInterface(name: string, live: Live, { at }: InterfaceOptions): Diagnostic {
  const existing = [...live.links.keys()].filter((link) => link !== 'lo').sort()
  const meant = nearest(name, existing)
  const known = existing.length === 0 ? 'there is none but lo' : `there are ${existing.slice(0, 8).join(', ')}`
  const hint = meant === undefined ? known + (existing.length > 8 ? ', …' : '') : `did you mean ${meant}?`
  return {
    code: 'E103',
    severity: 'error',
    message: `interface ${name} does not exist`,
    hint: `${hint} (\`missing: skip\` leaves it out while it does not exist)`,
    at,
  }
}

/** The instance belongs to one network namespace; from another one its interfaces are not even visible. */
export function guardNamespace(live: Pick<Live, 'netns' | 'ownNetns'>): Diagnostic[] {
  if (live.netns === undefined || live.netns === live.ownNetns) return []
  return [
    {
      code: 'E201',
      severity: 'error',
      message: `this instance belongs to network namespace ${live.netns}, but the command runs in ${live.ownNetns}`,
      hint:
        'enter that namespace (nsenter --net=/run/netns/NAME xdp …), or give this one its own --instance; ' +
        'if that namespace is gone, remove xdp-as-code/INSTANCE from the bpffs',
    },
  ]
}

/** Every reason to refuse the plan; empty = go ahead. */
export function guard(desired: Desired, live: Live): Diagnostic[] {
  const wrongNamespace = guardNamespace(live)
  // Nothing else can be said from the wrong namespace: its links are not the ones the file means.
  if (wrongNamespace.length > 0) return wrongNamespace
  const interfaces = [...desired.options]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .flatMap(([name, options]) => {
      const link = live.links.get(name)
      if (link === undefined) return options.missing === 'error' ? [missingInterface(name, live, options)] : []
      if (options.onConflict === 'replace') return []
      return foreignPrograms(link).map((program) => foreignProgram(name, program, options))
    })
  return [...interfaces, ...guardServices(desired, live)]
}
