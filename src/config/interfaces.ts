// Merges the interfaces of all files of a config. An interface in two files is an error that names both places, because
// otherwise the names of the files would decide which of them holds.

import type { InterfaceOptions } from '../model/desired.ts'
import { type Attachment, EVERY_ROLE, type Role } from '../model/state.ts'
import { lineOf, type Part, reportTwice, soundFields } from './text/part.ts'
import { badName } from './text/problems.ts'
import type { Report } from './text/report.ts'
import { quote } from './text/show.ts'
import type { WrittenInterface } from './text/written.ts'

/** IFNAMSIZ of the kernel without the NUL, in bytes; the schema can count only characters. */
const MAX_INTERFACE_BYTES = 15
/**
 * A name with an invisible character that the schema lets pass: the schema refuses only control characters, because not
 * every validator knows `\p{…}`.
 */
const INVISIBLE = /^(?=.*[\p{Cf}\p{Co}\p{Cn}\p{Cs}])[^/:\s\p{Cc}]{1,15}$/u
/** As in the schema, which sees only one file at a time. */
const MAX_INTERFACES = 63

export interface Interfaces {
  readonly attachments: ReadonlyMap<string, Attachment>
  readonly options: ReadonlyMap<string, InterfaceOptions>
}

const byName = ([left]: readonly [string, unknown], [right]: readonly [string, unknown]): number =>
  left < right ? -1 : 1

function checkCount(parts: readonly Part[], count: number, report: Report): void {
  const [top] = parts
  const include = top?.root.fields?.get('include')
  if (top === undefined || include === undefined || report.failed) return
  const at = include.key ?? include
  const where = top.source.locate(at.from, at.to)
  if (count === 0) report.error('E034', where, 'neither this file nor an included one names an interface')
  if (count > MAX_INTERFACES) {
    const hint = 'split the interfaces into groups, each with its config file and `--instance NAME`'
    report.error('E205', where, `the files name ${count} interfaces; one instance can have ${MAX_INTERFACES}`, hint)
  }
}

const rolesOf = ({ roles }: WrittenInterface): readonly Role[] => roles?.toSorted() ?? EVERY_ROLE

/** The names of all interfaces, those with an error in them included. */
export const interfaceNames = (parts: readonly Part[]): ReadonlySet<string> =>
  new Set(parts.flatMap(({ root }) => [...(root.fields?.get('interfaces')?.fields?.keys() ?? [])]))

/** The interfaces of all parts, sorted by name. */
export function readInterfaces(parts: readonly Part[], report: Report): Interfaces {
  const attachments: [string, Attachment][] = []
  const options = new Map<string, InterfaceOptions>()
  const first = new Map<string, string>()
  for (const part of parts) {
    for (const [name, placed] of soundFields(part, 'interfaces').sort(byName)) {
      const key = placed.key ?? placed
      const other = first.get(name)
      if (other !== undefined) {
        reportTwice(`interface ${name}`, part, placed, other, report)
        continue
      }
      first.set(name, lineOf(part, placed))
      // The schema counts characters, and has reported a name with too many.
      if (Buffer.byteLength(name) > MAX_INTERFACE_BYTES && [...name].length <= MAX_INTERFACE_BYTES) {
        const message = `${quote(name)} cannot be an interface name: it has ${Buffer.byteLength(name)} bytes`
        const where = part.source.locate(key.from, key.to)
        report.error('E033', where, message, `use at most ${MAX_INTERFACE_BYTES} bytes`)
      }
      if (INVISIBLE.test(name)) badName({ ...part, report }, ['interfaces'], name)
      const written = (placed.value ?? {}) as WrittenInterface
      const mode = placed.fields?.get('mode') ?? key
      attachments.push([name, { interface: name, modes: [written.mode ?? 'native'].flat(), roles: rolesOf(written) }])
      options.set(name, {
        onConflict: written.on_conflict ?? 'fail',
        missing: written.missing ?? 'error',
        at: part.source.locate(mode.from, mode.to),
      })
    }
  }
  checkCount(parts, attachments.length, report)
  return { attachments: new Map(attachments.sort(byName)), options: new Map([...options].sort(byName)) }
}
