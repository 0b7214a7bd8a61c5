// The processes of a laboratory: every command line of the tests and every tool has its directory in the environment.

import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Lab } from '../hosts.ts'

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly words: string
}

const STAT = /^\d+ \(.*\) (\S) (\d+) (\d+) /s

function processOf(pid: string, mark: string): Process | undefined {
  try {
    if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(mark)) return undefined
    const [, state = 'Z', parent, group] = STAT.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    if (state === 'Z' || state === 'X') return undefined
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return { pid: Number(pid), parent: Number(parent), group: Number(group), words }
  } catch {
    return undefined
  }
}

export const processesOf = (lab: Lab): Process[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => processOf(pid, `${lab.directory}/tools`) ?? [])

export const isGuardian = ({ words }: Process): boolean => / __guard /.test(words) && !/^\S*sh /.test(words)

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** Kills a process with everything that descends from it, as a service manager does that kills a cgroup. */
export async function killAll(lab: Lab, root: number): Promise<void> {
  const doomed = new Set([root])
  for (let isMore = true; isMore; ) {
    const all = processesOf(lab)
    const before = doomed.size
    for (let size = -1; size !== doomed.size; ) {
      size = doomed.size
      for (const { pid, parent } of all) if (doomed.has(parent)) doomed.add(pid)
    }
    isMore = doomed.size > before
    for (const pid of doomed) kill(pid)
  }
}

/** Waits until only processes remain that may stay; returns the others after the time. */
export async function quiet(
  lab: Lab,
  mayStay: (process: Process) => boolean,
  milliseconds: number,
): Promise<Process[]> {
  const until = performance.now() + milliseconds
  for (;;) {
    const rest = processesOf(lab).filter((one) => !mayStay(one))
    if (rest.length === 0 || performance.now() > until) return rest
    await delay(10)
  }
}
