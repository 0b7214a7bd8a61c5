// Writes bans: runs of ban_write, 256 requests per run. Also loaded by commands that must start fast, so it imports
// little. Writers take the lock of the bans, which is apart from that of the instance: no ban waits for an apply (ADR
// 0054). While an apply runs or waits for its confirmation there are two generations, whose tables of bans may differ in
// size: writers write into those of all, and look afterwards whether another one has appeared (ADR 0077).
//
// flock(1) locks the file and becomes bpftool, so the kernel frees the lock as soon as bpftool has ended, however it ends.

import { writeFile } from 'node:fs/promises'
import { between, list as listOf, ran, record, type Shape, word } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type Command, plainRun } from '../../abi/command.ts'
import {
  BAN_FLAG,
  BAN_MATCH_BY,
  BAN_MATCH_REASON,
  BAN_OP,
  BAN_REQUESTS,
  BAN_RESULT,
  type BanKey,
  banHeaderCodec,
  banKeyCodec,
  banRequestCodec,
} from '../../abi/generated.ts'
import { generationOf, type Paths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import { BANS } from '../../features/bans.ts'
import type { BanOrder, BanOutcome } from '../../model/ban.ts'
import type { Prefix } from '../../model/text.ts'
import { readOutput, understand } from '../tools/answer.ts'
import { askBatch, DIRECTLY, type Launcher, launchBpftool, runBatch } from '../tools/bpftool.ts'
import { instanceFile, runDirectory, withExchange } from '../tools/exchange.ts'
import { list } from '../tools/pins.ts'
import { findTool } from '../tools/places.ts'
import { CommandError } from '../tools/spawn.ts'

/** Return values of ban_write: XDP_ABORTED, XDP_DROP and XDP_PASS. */
const INVALID = 0
const ELSEWHERE = 1
const DONE = 2
/** Attempts for a request without memory: the program runs in a context that cannot wait for memory. */
export const ATTEMPTS = 5
const MS = 1_000_000n
/** Exit status of flock for a lock held by another process; bpftool has none like it. */
const CONFLICT = 75

const LONGEST_WAIT_MS = 30_000

/** Most requests of one bpftool process, for which other writers wait. */
export const MOST_REQUESTS = 64 * BAN_REQUESTS

const OUTCOMES: Readonly<Record<number, BanOutcome['result']>> = {
  [BAN_RESULT.ADDED]: 'added',
  [BAN_RESULT.REFRESHED]: 'refreshed',
  [BAN_RESULT.REMOVED]: 'removed',
  [BAN_RESULT.ABSENT]: 'absent',
  [BAN_RESULT.FULL]: 'full',
  [BAN_RESULT.NO_MEMORY]: 'no-memory',
  [BAN_RESULT.KEPT]: 'kept',
  [BAN_RESULT.ENFORCED]: 'enforced',
  [BAN_RESULT.REPLACED]: 'replaced',
}

const PROGRAMS = Object.values(BANS.programs)
const MAPS = BANS.ownMaps.names

/** Access to the bans of an instance. */
export interface BanAccess {
  readonly paths: Paths
  /** The lock of the bans; undefined where nothing else writes. */
  readonly lock: { readonly file: string; readonly timeoutMs: number } | undefined
  /** Inode of the network namespace of the caller. */
  readonly netns: bigint
}

/** The lock file of the bans of an instance. */
export const banLockFile = (bpffs: string, instance: string): Promise<string> =>
  instanceFile(bpffs, instance, 'bans.lock')

/** How to start bpftool under the lock. */
export async function launcherOf({ lock }: Pick<BanAccess, 'lock'>): Promise<Launcher> {
  if (lock === undefined) return DIRECTLY
  await runDirectory()
  const { file, timeoutMs } = lock
  // Writers hold the lock for milliseconds. A longer wait would also exceed the time of a tool.
  const waitMs = Math.min(timeoutMs, LONGEST_WAIT_MS)
  const wait = waitMs === 0 ? ['--nonblock'] : ['--timeout', `${waitMs / 1000}`]
  const argv = ['--no-fork', '--exclusive', ...wait, '--conflict-exit-code', `${CONFLICT}`, file, findTool('bpftool')]
  return { tool: 'flock', argv }
}

/** Runs `body`, and throws E106 if it failed because another process holds the lock. */
export async function locked<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof CommandError) || error.exitCode !== CONFLICT) throw error
    throw fail('E106', 'another process is changing the bans', 'run it again, or wait longer with `--lock-timeout 2m`')
  }
}

/** Generations whose programs can write bans, ascending. Throws like banGeneration. */
export async function banGenerations(paths: Paths): Promise<number[]> {
  const names = await list(paths.instance)
  const numbers = names.map(generationOf).filter((number) => number !== undefined)
  const able: number[] = []
  for (const number of numbers.sort((a, b) => a - b)) {
    const [pins, programs] = await Promise.all([list(paths.generation(number)), list(paths.programs(number))])
    // The policy has the network namespace of the instance.
    const hasMaps = ['policy', ...MAPS].every((name) => pins.includes(name))
    if (hasMaps && PROGRAMS.every((name) => programs.includes(name))) able.push(number)
  }
  if (able.length > 0) return able
  const message =
    numbers.length > 0
      ? 'cannot access the bans of the applied policy: another build of xdp applied it, or its pins are gone'
      : 'no policy is applied yet, so bans would have no effect'
  throw fail('E116', message, 'run `xdp apply` first')
}

/**
 * The oldest generation whose programs can write bans, because a newer one may belong to a running apply that may still
 * roll back. Throws E116 if no policy is applied, or an older build applied it.
 */
export async function banGeneration(paths: Paths): Promise<number> {
  const [oldest] = await banGenerations(paths)
  return oldest as number
}

/** The key of a prefix; its bits start at the top of `high`. */
export function banKey({ family, start, length }: Prefix): BanKey {
  const word = (index: number): bigint => BigInt(start[index] ?? 0)
  return { high: (word(0) << 32n) | word(1), low: (word(2) << 32n) | word(3), family, length }
}

const flagsOf = ({ observe, yields, unlessBanned }: BanOrder): number =>
  (observe ? BAN_FLAG.OBSERVE : 0) | (yields ? BAN_FLAG.YIELD : 0) | (unlessBanned ? BAN_FLAG.UNLESS_BANNED : 0)

/** A request in bytes without key and time: requests mostly share their labels. */
function commonBytes(order: BanOrder): Uint8Array<ArrayBuffer> {
  const { op, labels } = order
  const { reason, by } = labels
  const bytes = new Uint8Array(banRequestCodec.size)
  const key = { high: 0n, low: 0n, family: 0, length: 0 }
  const conditions = (reason === '' ? 0 : BAN_MATCH_REASON) | (by === '' ? 0 : BAN_MATCH_BY)
  const common =
    op === 'add'
      ? { op: BAN_OP.ADD, match: 0, flags: flagsOf(order) }
      : { op: BAN_OP.REMOVE, match: conditions, flags: 0 }
  const request = { key, ttl: 0n, result: BAN_RESULT.NONE, reason, by, ...common }
  banRequestCodec.encode(request, new DataView(bytes.buffer))
  return bytes
}

/** The input of one run of ban_write. `now`: Unix time in seconds. */
export function encodeRequests(requests: readonly BanOrder[], netns: bigint, now: number): Uint8Array {
  const { size, offsets } = banRequestCodec
  const bytes = new Uint8Array(banHeaderCodec.size + requests.length * size)
  const view = new DataView(bytes.buffer)
  banHeaderCodec.encode({ since: BigInt(now), netns, count: requests.length, over: 0 }, view)
  let last: BanOrder | undefined
  let common = new Uint8Array()
  for (const [index, request] of requests.entries()) {
    const { op, prefix, ttlMs, labels } = request
    const isLike = last?.labels === labels && last.op === op && flagsOf(last) === flagsOf(request)
    if (!isLike) common = commonBytes(request)
    last = request
    const at = banHeaderCodec.size + index * size
    bytes.set(common, at)
    banKeyCodec.encode(banKey(prefix), view, at + offsets.key)
    view.setBigUint64(at + offsets.ttl, BigInt(ttlMs) * MS, LITTLE_ENDIAN)
  }
  return bytes
}

/** The answer to one run. */
interface Answer {
  readonly results: readonly BanOutcome['result'][]
  /** Whether a ban may have expired. */
  readonly isOver: boolean
}

function decodeAnswer(retval: number, bytes: Uint8Array, count: number): Answer | 'elsewhere' {
  if (retval === ELSEWHERE) return 'elsewhere'
  if (retval === INVALID) {
    const message = 'cannot access the bans of the applied policy: another build of xdp applied it'
    throw fail('E116', message, 'run `xdp apply` first')
  }
  if (retval !== DONE) throw fail('E108', `the data plane refused to write bans (return value ${retval})`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const results = Array.from({ length: count }, (_, index) => {
    const at = banHeaderCodec.size + index * banRequestCodec.size + banRequestCodec.offsets.result
    const result = view.getUint32(at, LITTLE_ENDIAN)
    const outcome = OUTCOMES[result]
    if (outcome === undefined) throw fail('E108', `the data plane refused a ban (result ${result})`)
    return outcome
  })
  return { results, isOver: view.getUint32(banHeaderCodec.offsets.over, LITTLE_ENDIAN) !== 0 }
}

/** A byte as `data_out -` shows it: a number, or a hexadecimal word. */
const byte: Shape<number> = (value, at) => between(0, 0xff)(typeof value === 'string' ? Number(value) : value, at)

const pipedRun = record({ retval: word, data_out: listOf(byte) })

/** One run, whose bytes pass through pipes: the usual ban needs no file. */
async function writePiped(program: string, input: Uint8Array, launcher: Launcher): Promise<[number, Uint8Array]> {
  const argv = [
    'prog',
    'run',
    'pinned',
    program,
    'data_in',
    '-',
    'data_out',
    '-',
    'data_size_out',
    '65536',
    'repeat',
    '1',
  ]
  const { retval, data_out } = await launchBpftool(pipedRun, argv, launcher, input)
  return [retval, Uint8Array.from(data_out)]
}

/** Many runs in one bpftool process, whose bytes pass through files. */
async function writeFiled(
  runs: readonly { readonly program: string; readonly input: Uint8Array }[],
  launcher: Launcher,
): Promise<[number, Uint8Array][]> {
  return withExchange(async (directory) => {
    const files = runs.map((_, i) => `${directory}/${i}`)
    await Promise.all(runs.map(({ input }, i) => writeFile(files[i] as string, input)))
    const words = (file: string): string[] => ['data_in', file, 'data_out', `${file}.out`, 'data_size_out', '65536']
    const commands = runs.map(({ program }, i) =>
      bpftool('prog', 'run', 'pinned', program, ...words(files[i] as string), 'repeat', '1'),
    )
    const outputs = await askBatch(ran, commands, launcher)
    return understand('bpftool', 'bpftool prog run', () =>
      runs.map(({ input }, i) => [outputs[i]?.retval ?? INVALID, readOutput(`${files[i]}.out`, input.length)]),
    )
  })
}

/** Failures, of which one in any generation is that of the request. */
const FAILED: readonly BanOutcome['result'][] = ['full', 'no-memory']

async function writeOnce(
  access: BanAccess,
  generations: readonly number[],
  requests: readonly BanOrder[],
  now: number,
): Promise<Answer | 'elsewhere'> {
  const chunks = Array.from({ length: Math.ceil(requests.length / BAN_REQUESTS) }, (_, i) =>
    requests.slice(i * BAN_REQUESTS, (i + 1) * BAN_REQUESTS),
  )
  const inputs = chunks.map((chunk) => encodeRequests(chunk, access.netns, now))
  const programs = generations.map((number) => access.paths.program(number, BANS.programs.write))
  const runs = programs.flatMap((program) => inputs.map((input) => ({ program, input })))
  const launcher = await launcherOf(access)
  const [only, ...more] = runs
  const outputs = await locked(async () =>
    only && more.length === 0
      ? [await writePiped(only.program, only.input, launcher)]
      : await writeFiled(runs, launcher),
  )
  const answers: Answer[] = []
  for (const [i, [retval, bytes]] of outputs.entries()) {
    const answer = decodeAnswer(retval, bytes, chunks[i % chunks.length]?.length ?? 0)
    if (answer === 'elsewhere') return answer
    answers.push(answer)
  }
  const isOver = answers.some((answer) => answer.isOver)
  const results = programs.map((_, i) =>
    answers.slice(i * chunks.length, (i + 1) * chunks.length).flatMap((answer) => answer.results),
  )
  const [oldest = [], ...later] = results
  const worst = (result: BanOutcome['result'], i: number): BanOutcome['result'] =>
    later.map((one) => one[i] as BanOutcome['result']).find((one) => FAILED.includes(one)) ?? result
  return { results: later.length === 0 ? oldest : oldest.map(worst), isOver }
}

/**
 * Executes at most MOST_REQUESTS requests in order, and removes expired bans, which make room. Returns one outcome each;
 * `elsewhere`: the instance belongs to another network namespace, and nothing was changed. `now`: Unix time in seconds.
 * Throws E106 if the lock stays held.
 */
export async function writeBans(
  access: BanAccess,
  generations: readonly number[],
  requests: readonly BanOrder[],
  now: number,
): Promise<readonly BanOutcome['result'][] | 'elsewhere'> {
  const first = await writeOnce(access, generations, requests, now)
  if (first === 'elsewhere') return first
  if (first.isOver) await sweepBans(access, generations)
  const results = [...first.results]
  const isWorthAnother = (result: BanOutcome['result'], attempt: number): boolean =>
    result === 'no-memory' || (result === 'full' && first.isOver && attempt === 1)
  for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
    const again = results.flatMap((result, i) => (isWorthAnother(result, attempt) ? [i] : []))
    if (again.length === 0) break
    const wanted = again.map((i) => requests[i] as BanOrder)
    const answer = await writeOnce(access, generations, wanted, now)
    if (answer === 'elsewhere') return answer
    for (const [at, result] of answer.results.entries()) results[again[at] as number] = result
  }
  return results
}

/** Removes expired bans. The caller holds the lock of the bans. */
export const banSweep = (paths: Paths, generation: number): Command =>
  plainRun(paths.program(generation, BANS.programs.sweep))

/** Removes expired bans, and fills filters that are worn. Throws E106 if the lock stays held. */
export async function sweepBans(access: BanAccess, generations: readonly number[]): Promise<void> {
  const launcher = await launcherOf(access)
  const commands = generations.map((number) => banSweep(access.paths, number))
  await locked(() => runBatch(commands, launcher))
}
