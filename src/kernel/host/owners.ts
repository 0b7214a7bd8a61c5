// Owners of programs: the user who loaded one, and the processes that have it open. The kernel keeps no record of the process
// that loaded or attached a program, so one that has ended is unknown.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { shownProgram } from '../../abi/answer.ts'
import { bpftool } from '../../abi/command.ts'
import type { Holder, ProgramOwner } from '../../model/live.ts'
import { askBatch } from '../tools/bpftool.ts'
import { effectiveCapabilities, mayOpenForeign } from './host.ts'
import { nameOf } from './processes.ts'

/** Calls `body`; undefined if the process has ended meanwhile, or is none of ours. */
function attempt<T>(body: () => T): T | undefined {
  try {
    return body()
  } catch {
    return undefined
  }
}

/** Ids of the programs that a process has open, itself or through a link (bpf_prog_show_fdinfo in kernel/bpf/syscall.c). */
function openPrograms(pid: string): number[] {
  const descriptors = attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []
  return descriptors.flatMap((descriptor) => {
    const target = attempt(() => readlinkSync(`/proc/${pid}/fd/${descriptor}`))
    if (!target?.startsWith('anon_inode:bpf')) return []
    const facts = attempt(() => readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8')) ?? ''
    const id = /^prog_id:\s*(\d+)$/m.exec(facts)?.[1]
    return id === undefined ? [] : [Number(id)]
  })
}

/** Processes by the programs that they have open, of these. */
function holdersOf(ids: ReadonlySet<number>): ReadonlyMap<number, readonly Holder[]> {
  const found = new Map<number, Holder[]>()
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const id of new Set(openPrograms(pid))) {
      if (!ids.has(id)) continue
      found.set(id, [...(found.get(id) ?? []), { pid: Number(pid), command: nameOf(pid) ?? '' }])
    }
  }
  return found
}

/** The owners of programs, by id. A program that has gone meanwhile has none. */
export async function readOwners(ids: readonly number[]): Promise<ReadonlyMap<number, ProgramOwner>> {
  if (ids.length === 0) return new Map()
  const holders = holdersOf(new Set(ids))
  const isPermitted = mayOpenForeign(await effectiveCapabilities())
  const shown = isPermitted
    ? await askBatch(
        shownProgram,
        ids.map((id) => bpftool('prog', 'show', 'id', `${id}`)),
      )
    : []
  const users = new Map(shown.map(({ id, uid }) => [id, uid]))
  return new Map(ids.map((id) => [id, { uid: users.get(id), holders: holders.get(id) ?? [] }]))
}
