// Facts about the objects of an instance that a saved plan relies on: which maps and programs are pinned, the records of
// interfaces, and the tables. Read for such plans alone.

import { createHash } from 'node:crypto'
import { shownMap, shownProgram } from '../../abi/answer.ts'
import { bpftool } from '../../abi/command.ts'
import type { Paths } from '../../abi/paths.ts'
import { PROGRAMS, SHARED_MAPS } from '../../features/features.ts'
import type { FactKind, PlanFact } from '../../model/saved-plan.ts'
import { askBatch } from '../tools/bpftool.ts'
import { objectWords } from './instance.ts'
import type { Observation } from './observe.ts'
import { encodeEntry, encodeStack, FREE_STACK, modeOf } from './records.ts'
import { settled } from './settled.ts'

const fact = (kind: FactKind, name: string, value: string): PlanFact => ({ kind, name, value })

function digestOf(parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const bytes of parts) hash.update(bytes)
  return hash.digest('hex').slice(0, 32)
}

/** Pins of the live generation and of the shared maps, as far as they are there. */
function pinsOf(paths: Paths, { committed, instance }: Observation) {
  const shared = SHARED_MAPS.filter((map) => !instance.missing.includes(map))
  const maps = shared.map((map) => ({ name: map.name, words: ['pinned', paths.sharedMap(map)] as const }))
  if (!committed) return { maps, programs: [] }
  const { number, ownMaps, unpinned } = committed
  const at = (pin: string) => objectWords(committed, pin)
  const own = [...ownMaps.keys()].map((name) => ({ name, words: at(paths.ownMap(number, { name })) }))
  const pinned = PROGRAMS.filter((name) => !unpinned.has(name))
  return {
    maps: [...maps, { name: 'policy', words: at(paths.policy(number)) }, ...own],
    programs: pinned.map((name) => ({ name, words: at(paths.program(number, name)) })),
  }
}

/** The ids of pinned objects, which another process could have replaced under the same names. */
async function identities(paths: Paths, live: Observation): Promise<PlanFact[]> {
  const { maps, programs } = pinsOf(paths, live)
  const [shownMaps, shownPrograms] = await Promise.all([
    askBatch(
      shownMap,
      maps.map(({ words }) => bpftool('map', 'show', ...words)),
    ),
    askBatch(
      shownProgram,
      programs.map(({ words }) => bpftool('prog', 'show', ...words)),
    ),
  ])
  return [
    ...maps.map(({ name }, i) => fact('map', name, `id ${shownMaps[i]?.id}`)),
    ...programs.map(({ name }, i) => fact('program', name, `id ${shownPrograms[i]?.id}`)),
  ]
}

/** The records that separate drift from edits, and those that the data plane reads of interfaces. */
function recordFacts({ instance: { attachments, index, stacks } }: Observation): PlanFact[] {
  const records = (attachments ?? []).flatMap(({ name, ifindex, mode }, slot) => {
    if (ifindex === 0 || slot === 0) return []
    const stack = digestOf([encodeStack(stacks?.[slot] ?? FREE_STACK)])
    return [
      fact(
        'record',
        name,
        `slot ${slot}, index ${ifindex}, ${modeOf(mode) ?? `mode ${mode}`}, devices ${stack.slice(0, 8)}`,
      ),
    ]
  })
  return [...records, ...(index ? [fact('index', '', digestOf(index.map(encodeEntry)))] : [])]
}

/** The header of the tables has digests of all their content, and the time of their commit. */
function tableFacts({ committed }: Observation): PlanFact[] {
  if (!committed) return []
  const { header, abi, lines } = committed
  const digest = header ? digestOf([new Uint8Array(header.buffer, header.byteOffset, header.byteLength)]) : 'unread'
  return [fact('tables', '', `ABI ${abi}, ${lines} lines, ${digest}`)]
}

/** Facts about the objects of the instance, for `factsOf` of the planner. */
export async function objectFacts(paths: Paths, live: Observation): Promise<PlanFact[]> {
  const pinned = await settled(paths, () => identities(paths, live))
  return [...tableFacts(live), ...recordFacts(live), ...pinned]
}
