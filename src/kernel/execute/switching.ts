// Steps around the switch: records and counters just before it, the switch itself, its verification, and the commit.

import { rmdir } from 'node:fs/promises'
import { valueView } from '../../abi/answer.ts'
import { bpftool, type Command, commandLine, keyBytes, type Part, quiet, updateCommand } from '../../abi/command.ts'
import { fail, type XdpError } from '../../diagnostics.ts'
import type { RecordWrite, StepOf } from '../../features/step.ts'
import { META_LINE } from '../../tables/layout/layout.ts'
import { effectiveCapabilities, mayOpenForeign } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { claimHealth, writeHealth } from '../live/health.ts'
import { probePart, requireVerdicts } from '../live/probe.ts'
import { runBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { permissionHint } from '../tools/permission.ts'
import { removePins } from '../tools/pins.ts'
import {
  attach,
  attachLines,
  detach,
  detachCommand,
  expectAsObserved,
  replace,
  replaceCommand,
  restore,
} from './attach.ts'
import { probeLine } from './building.ts'
import { giveBack, giveBackCommand } from './chain.ts'
import type { KindTable, Run } from './kind.ts'

type Write = Pick<RecordWrite, 'map' | 'key' | 'value'>

const write = ({ map, key, value }: Write): Command => updateCommand(map, key, value)

/** Writes a value and reads it back; throws E108 if the map holds another. */
const storePart = ({ map, key, value }: Write): Part<void> => ({
  commands: [updateCommand(map, key, value), bpftool('map', 'lookup', 'pinned', map, 'key', ...keyBytes(key))],
  finish: ([, entry]) => {
    const { buffer } = valueView(value.length)(entry)
    if (Buffer.compare(new Uint8Array(buffer), value) === 0) return
    throw fail('E108', `${map} does not hold what bpftool wrote to key ${key}`)
  },
})

const zeroCommand = ({ map, slot, size }: StepOf<'zero-counter'>): Command =>
  updateCommand(map, slot, new Uint8Array(size))

const keepCommand = ({ id, pin }: StepOf<'keep-foreign'>): Command => bpftool('prog', 'pin', 'id', `${id}`, pin)

const commitWrite = ({ policy, meta }: Omit<StepOf<'commit'>, 'kind'>): Write => ({
  map: policy,
  key: META_LINE,
  value: meta,
})

const healthLine = ({ program }: { readonly program: string }): string =>
  `bpftool prog run pinned ${program} data_in RECORDS`

/** A replaced program must be pinned, or a rollback could not restore it. */
const cannotKeep = (name: string): XdpError =>
  fail(
    'E104',
    `replacing the program on ${name} needs CAP_SYS_ADMIN, without which a rollback could not restore it`,
    `${permissionHint(['SYS_ADMIN'])}, or detach that program first`,
  )

/** Verifies that the intended programs are attached, and that the live one gives every probe its verdict. */
async function verify({ program, explain, interfaces, probes }: StepOf<'verify'>, run: Run): Promise<void> {
  const [links] = await Promise.all([
    readLinks(),
    withExchange(async (files) => {
      const [verdicts] = await runParts(probePart(`${files}/probe`, program, probes))
      await requireVerdicts(`${files}/excused`, explain, probes, verdicts)
    }),
  ])
  for (const name of interfaces) {
    const attached = links.get(name)?.programs.some(({ id }) => id === run.programId)
    if (!attached) throw fail('E108', `${name} does not run program ${run.programId} after it was attached`)
  }
  run.outcome.probes = { run: probes.length, passed: probes.length }
  run.outcome.links = links
}

/** Removes pins; with those of the instance also the directory of all instances, if it is then empty. */
async function free({ path }: StepOf<'free'>, { paths }: Run): Promise<void> {
  await removePins(path)
  if (path === paths.instance) await rmdir(paths.root).catch(() => undefined)
}

export const SWITCHING = {
  'zero-counter': {
    batch: 'records',
    print: (step) => [commandLine(zeroCommand(step))],
    part: (step) => quiet(zeroCommand(step)),
  },
  'keep-foreign': {
    print: (step) => [commandLine(keepCommand(step))],
    run: async (step) => {
      if (!mayOpenForeign(await effectiveCapabilities())) throw cannotKeep(step.interface)
      // A killed apply may have left it.
      await removePins(step.pin)
      await runBatch([keepCommand(step)])
    },
    undo: ({ pin }) => removePins(pin),
  },
  record: {
    batch: 'records',
    print: (step) => [commandLine(write(step))],
    part: storePart,
    undoCommands: ({ map, key, before }) => [updateCommand(map, key, before)],
  },
  'write-health': {
    print: (step) => [healthLine(step)],
    run: async ({ generation, bytes }, { paths }) => void (await writeHealth(paths, generation, bytes)),
  },
  'check-interfaces': {
    progress: 'attaching',
    print: ({ expected }) => (expected.length === 0 ? [] : ['ip -j -d link show']),
    run: async ({ expected }, run) => expectAsObserved(expected, await (run.links ?? readLinks())),
  },
  attach: {
    print: attachLines,
    run: attach,
    undo: restore,
  },
  replace: {
    print: (step) => [commandLine(replaceCommand(step))],
    run: replace,
    undo: restore,
  },
  verify: {
    progress: 'verifying the live program',
    print: ({ program, probes }) => [
      'ip -j -d link show',
      ...(probes.length === 0 ? [] : [probeLine(program, probes.length)]),
    ],
    run: verify,
  },
  commit: {
    print: (step) => [commandLine(write(commitWrite(step)))],
    run: async (step) => void (await runParts(storePart(commitWrite(step)))),
  },
  uncommit: {
    print: (step) => [commandLine(write(commitWrite(step)))],
    run: async (step) => void (await runParts(storePart(commitWrite(step)))),
  },
  'claim-health': {
    print: (step) => [healthLine(step)],
    run: ({ generation, bytes }, { paths }) => claimHealth(paths, generation, bytes),
  },
  detach: {
    progress: 'detaching',
    print: ({ interface: name, mode }) => [commandLine(detachCommand(mode, name))],
    run: detach,
  },
  'give-back': {
    progress: 'giving interfaces back',
    print: (step) => [commandLine(giveBackCommand(step))],
    run: giveBack,
  },
  forget: {
    batch: 'forget',
    print: (step) => [commandLine(write(step))],
    part: storePart,
  },
  free: {
    print: ({ path }) => [`rm -r ${path}`],
    run: free,
  },
} as const satisfies KindTable<
  | 'zero-counter'
  | 'keep-foreign'
  | 'record'
  | 'write-health'
  | 'check-interfaces'
  | 'attach'
  | 'replace'
  | 'verify'
  | 'commit'
  | 'uncommit'
  | 'claim-health'
  | 'detach'
  | 'give-back'
  | 'forget'
  | 'free'
>
