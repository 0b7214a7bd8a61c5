// Answers of tools that are empty, cut, damaged or of another shape: every reader returns the result of the whole answer,
// or fails with one expected error. The answers are recorded from bpftool 7.1 and iproute2 6.1.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  entriesOf,
  list as listOf,
  ran,
  shownMap,
  shownPolicy,
  shownProgram,
  valueView,
} from '../../../src/abi/answer.ts'
import { bpftool } from '../../../src/abi/command.ts'
import { HOST_NAMES } from '../../../src/commands/cli/completion/names.ts'
import { XdpError } from '../../../src/diagnostics.ts'
import { readDetails } from '../../../src/kernel/doctor/cards.ts'
import { defaultRouteInterfaces } from '../../../src/kernel/host/filters.ts'
import { readLinks } from '../../../src/kernel/host/links.ts'
import { foundRoutes, resolveNextHops } from '../../../src/kernel/host/next-hops.ts'
import { readDelicate, readOwnAddresses } from '../../../src/kernel/host/protect.ts'
import { parseAnswer } from '../../../src/kernel/tools/answer.ts'
import { askBatch, askBpftool, runBatch, runBpftool, runParts } from '../../../src/kernel/tools/bpftool.ts'
import { askIp, askIpBatch } from '../../../src/kernel/tools/ip.ts'
import { type Output, useRunner } from '../../../src/kernel/tools/spawn.ts'
import { usually } from '../../support/depth.ts'
import { service } from '../../support/services.ts'
import { ANY, list, scoped, state } from '../../support/states.ts'
import { Lab } from '../../support/steps.ts'
import RECORDED from './answers.json' with { type: 'json' }

const batch = (...outputs: readonly string[]): string =>
  `[${outputs.map((output, i) => `{"command":["map","show","pinned","/sys/fs/bpf/${i}"],"output":${output.trim()}}`).join(',')}]`

interface Reader {
  readonly name: string
  /** By a word of the arguments. */
  readonly answers: Readonly<Record<string, string>>
  readonly read: () => Promise<unknown>
}

const show = bpftool('map', 'show', 'pinned', '/sys/fs/bpf/0')
const READERS: readonly Reader[] = [
  { name: 'interfaces', answers: { link: RECORDED.links }, read: readLinks },
  { name: 'details of interfaces', answers: { link: RECORDED.links }, read: readDetails },
  { name: 'default routes', answers: { default: RECORDED.default }, read: defaultRouteInterfaces },
  {
    name: 'addresses that bans spare',
    answers: { '-batch': `${RECORDED.addresses}\n${RECORDED.default}` },
    read: readDelicate,
  },
  {
    name: 'routes',
    answers: { '-batch': RECORDED.routes },
    read: () => askIpBatch(foundRoutes, ['route get 10.0.0.11', 'route get 10.1.0.1']),
  },
  {
    name: 'next hops',
    answers: { '-batch': RECORDED.routes, neigh: RECORDED.neighbours, link: RECORDED.links },
    read: async () => resolveNextHops(['10.0.0.11', '10.1.0.1'], await readLinks(), { ask: false }),
  },
  {
    name: 'a program',
    answers: { prog: RECORDED.program },
    read: () => askBpftool(shownProgram, 'prog', 'show', 'id', '54'),
  },
  { name: 'a map', answers: { map: RECORDED.map }, read: () => askBpftool(shownMap, 'map', 'show', 'id', '7') },
  {
    name: 'an entry',
    answers: { map: RECORDED.entry },
    read: () => askBpftool(valueView(8), 'map', 'lookup', 'id', '7'),
  },
  {
    name: 'a dump',
    answers: { map: RECORDED.dump },
    read: () => askBpftool(entriesOf(4, 8), 'map', 'dump', 'id', '7'),
  },
  { name: 'a test run', answers: { prog: RECORDED.run }, read: () => askBpftool(ran, 'prog', 'run', 'id', '54') },
  {
    name: 'a batch of test runs',
    answers: { batch: batch(RECORDED.run, RECORDED.run, RECORDED.run) },
    read: () => askBatch(ran, [show, show, show]),
  },
  {
    name: 'parts of a batch',
    answers: { batch: batch(RECORDED.map, RECORDED.program, RECORDED.dump) },
    read: () =>
      runParts(
        { commands: [show, show], finish: ([map, program]) => [shownMap(map), shownProgram(program)] },
        { commands: [show], finish: ([dump]) => entriesOf(4, 8)(dump) },
      ),
  },
]

let restore: () => void
let damage: (answer: string) => string
let answers: Readonly<Record<string, string>>
let exitCode = 0

beforeEach(() => {
  damage = (answer) => answer
  exitCode = 0
  restore = useRunner(async (tool, argv): Promise<Output> => {
    const isVersion = argv.includes('version') || argv.includes('-V')
    if (isVersion) return { stdout: `${tool} v7.1.0\n`, stderr: '', exitCode: 0 }
    const key = Object.keys(answers).find((word) => argv.includes(word))
    return { stdout: key === undefined ? '[]' : damage(answers[key] as string), stderr: '', exitCode }
  })
})
afterEach(() => restore())

/** The result as text, or the code of the error. Throws an error that no user may see. */
async function outcome({ read }: Reader): Promise<string> {
  const seen = (_: string, value: unknown): unknown => {
    if (value instanceof Map) return [...value]
    if (value instanceof DataView) return [...new Uint8Array(value.buffer)]
    return value
  }
  try {
    return JSON.stringify(await read(), seen)
  } catch (error) {
    if (error instanceof XdpError) return error.diagnostics.map(({ code }) => code).join()
    throw error
  }
}

/** Values that replace a part of an answer. */
const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  1e300,
  '',
  'x',
  [],
  {},
  [null],
  [[]],
  { error: 'x' },
  '0x100',
  2 ** 40,
]

/** Every place in a value, as the keys to it. */
function places(value: unknown): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [[]]
  return [[], ...Object.entries(value).flatMap(([key, one]) => places(one).map((rest) => [key, ...rest]))]
}

function replaced(value: unknown, [key, ...rest]: readonly (string | number)[], by: unknown): unknown {
  if (key === undefined) return by
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>
  if (rest.length === 0 && by === undefined) delete copy[key]
  else copy[key] = replaced(copy[key], rest, by)
  return copy
}

/** Damages one document of an answer, which may have one in each line. */
const inLine = (change: (document: unknown) => unknown) => (answer: string) =>
  answer
    .split('\n')
    .map((line) => (line === '' ? line : JSON.stringify(change(JSON.parse(line)))))
    .join('\n')

describe.each(READERS)('the reader of $name', (reader) => {
  beforeEach(() => {
    answers = reader.answers
  })

  test('reads the recorded answer', async () => {
    expect(await outcome(reader)).not.toMatch(/^E\d/)
  })

  test('refuses an answer that is cut anywhere, or has other text before or behind it', async () => {
    const whole = await outcome(reader)
    const [longest = ''] = Object.values(answers).sort((a, b) => b.length - a.length)
    for (let at = 0; at < longest.length; at += usually(97, { thoroughly: 1 })) {
      damage = (answer) => answer.slice(0, at)
      expect([whole, 'E131']).toContain(await outcome(reader))
    }
    for (const words of ['Warning: x\n', '\0', '{}', '[]\n', 'null\n', '}']) {
      damage = (answer) => `${words}${answer}`
      expect(await outcome(reader)).toBe('E131')
      damage = (answer) => `${answer}${words}`
      expect([whole, 'E131']).toContain(await outcome(reader))
    }
  })

  test('refuses, or reads without an exception, an answer with any part replaced or removed', async () => {
    for (const answer of Object.values(answers)) {
      const documents = answer.split('\n').filter((line) => line !== '')
      for (const [i, place] of documents.flatMap((line) => places(JSON.parse(line))).entries()) {
        // Each place gets another one of the values, and is removed.
        const values = usually([VALUES[i % VALUES.length]], { thoroughly: [...VALUES] })
        for (const value of [undefined, ...values]) {
          damage = (given) => (given === answer ? inLine((document) => replaced(document, place, value))(given) : given)
          const seen = await outcome(reader)
          expect(seen.startsWith('E') ? seen : 'read').toMatch(/^(?:E131|read)$/)
        }
      }
    }
  })

  test('ends with an expected error or a result for random JSON', async () => {
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 4 }), async (text) => {
        damage = () => text
        await outcome(reader)
      }),
      { numRuns: usually(25, { thoroughly: 1000 }) },
    )
  })
})

describe('numbers that the kernel cannot have are refused:', () => {
  const ABSURD: readonly (readonly [what: string, shape: (value: unknown) => unknown, value: object])[] = [
    ['id 0', shownProgram, { id: 0 }],
    ['an id of 33 bits', shownProgram, { id: 2 ** 32 }],
    ['a negative id', shownMap, { id: -1, max_entries: 1 }],
    ['a map id of 33 bits', shownProgram, { id: 1, map_ids: [1, 2 ** 32] }],
    ['a load time after the last date', shownProgram, { id: 1, loaded_at: 2 ** 53 - 1 }],
    ['more memory than addresses', shownProgram, { id: 1, bytes_memlock: 2 ** 50 }],
    ['such memory as text', shownMap, { id: 1, max_entries: 1, bytes_memlock: '999999999999999' }],
    ['entries of 33 bits', shownMap, { id: 1, max_entries: 2 ** 32 }],
    ['a policy of 2^32 - 1 lines', shownPolicy, { id: 1, max_entries: 2 ** 32 - 1 }],
    ['a return value of 33 bits', ran, { retval: 2 ** 32 }],
  ]
  test.each(ABSURD)('%s', (_, shape, value) => {
    expect(() => shape(value)).toThrow(/a whole number from \d+ to \d+/)
  })

  test.each([0, -1, 2 ** 31, 2 ** 40])('interface number %d', async (number) => {
    answers = { link: RECORDED.links.replace('"ifindex":3', `"ifindex":${number}`) }
    await expect(readLinks()).rejects.toThrow('E131')
  })
})

describe('the error', () => {
  test('names the tool with its version, the command, and the place in its answer', async () => {
    answers = { map: RECORDED.map.replace(/"max_entries":\d+/, '"max_entries":"two"') }
    await expect(askBpftool(shownMap, 'map', 'show', 'id', '7')).rejects.toThrow(
      'E131 bpftool v7.1.0 gave an unusable answer to `bpftool map show id 7`: at max_entries it has "two", not a whole number',
    )
    answers = { batch: batch(RECORDED.run, '{"retval":-1}', RECORDED.run) }
    await expect(askBatch(ran, [show, bpftool('prog', 'run', 'id', '1'), show])).rejects.toThrow(
      '`bpftool prog run id 1`: at retval it has -1, not a whole number',
    )
    answers = { addr: '' }
    await expect(askIp(listOf(shownMap), 'addr', 'show')).rejects.toThrow(
      'E131 ip v7.1.0 gave an unusable answer to `ip addr show`',
    )
  })

  test('is given where the addresses of an interface that exists are missing', async () => {
    for (const names of [[], ['lo0']]) {
      answers = { addr: JSON.stringify(names.map((ifname) => ({ ifname, addr_info: [{ local: '192.0.2.1' }] }))) }
      await expect(readOwnAddresses()).rejects.toThrow(/E131 ip v7.1.0 gave .* `ip addr show`: it lacks .*lo/)
    }
    const complete = HOST_NAMES.interfaces().map((ifname) => ({ ifname, addr_info: [{ local: '192.0.2.1' }] }))
    answers = { addr: JSON.stringify([...complete, { ifname: 'new0' }]) }
    await expect(readOwnAddresses()).resolves.toHaveLength(complete.length)
  })

  test('of a batch that bpftool stops between commands (EINTR) blames no command', async () => {
    answers = {
      batch: batch(RECORDED.run, RECORDED.run).replace(
        /\]$/,
        ',{"error":"reading batch file failed: Interrupted system call"}]',
      ),
    }
    exitCode = 255
    await expect(runBatch([show, show, show])).rejects.toThrow('E131 bpftool v7.1.0')
    await expect(runBatch([show, show, show])).rejects.toThrow('it stopped after 2 of 3 commands')
    expect(await runBatch([show, show])).toHaveLength(2)
  })

  test('of a batch with fewer answers than commands counts them', async () => {
    answers = { batch: batch(RECORDED.run, RECORDED.run) }
    await expect(runBatch([show, show, show])).rejects.toThrow('it answers 2 of 3 commands')
  })
})

describe.skipIf(process.getuid?.() !== 0)('an apply whose tools lie', () => {
  const wanted = (blocked: string) =>
    state({
      policy: 'pass',
      interfaces: { eth0: ['native'], eth1: ['native'] },
      lists: [list('blocklist', 'blocklist', scoped(ANY, blocked))],
      services: [
        service('web', '192.0.2.10 80', { scheduler: 'random', backends: ['10.0.1.1'], snatPool: ['192.0.2.20'] }),
      ],
    })
  const lies: Readonly<Record<string, (text: string) => string>> = {
    'answers nothing': () => '',
    'answers null': () => 'null',
    'answers an empty list': () => '[]',
    'answers an empty object': () => '{}',
    'cuts its answer': (text) => text.slice(0, text.length / 2),
    'cuts the end of its answer': (text) => text.slice(0, -1),
    'prints a warning first': (text) => `libbpf: warning\n${text}`,
    'answers with zeros': (text) => text.replace(/0x[1-9a-f]\w|0x\w[1-9a-f]/g, '0x00'),
    'answers with ones': (text) => text.replaceAll(/0x\w\w/g, '0xff'),
    'answers with other numbers': (text) => text.replaceAll(/:\d+/g, ':7'),
    'answers with texts': (text) => text.replaceAll(/:\d+/g, ':"x"'),
  }

  test.each(Object.keys(lies))('ends with a result or an expected error where a tool %s', async (name) => {
    const lie = lies[name] as (text: string) => string
    const lab = new Lab()
    try {
      for (const [i, device] of ['eth0', 'eth1'].entries()) lab.kernel.addLink(device, i + 2)
      expect(await lab.apply(wanted('198.51.100.0/24'))).toBe('ok')
      const reset = lab.kernel.snapshot()
      const before = lab.kernel.fingerprint()
      const every = usually(20, { thoroughly: 1 })
      for (let number = Object.keys(lies).indexOf(name) % every; ; number += every) {
        let calls = 0
        const undo = useRunner(async (tool, argv, input) => {
          const output = await lab.kernel.runner(tool, argv, input)
          return calls++ === number ? { ...output, stdout: lie(output.stdout) } : output
        })
        const ending = await lab.apply(wanted('203.0.113.0/24')).catch((error: unknown) => {
          if (error instanceof XdpError) return error.diagnostics[0]?.code
          throw error
        })
        undo()
        expect(ending).toMatch(/^(?:ok|E1\d\d|E2\d\d)$/)
        if (ending !== 'ok' && ending !== 'E111') expect(lab.kernel.fingerprint()).toBe(before)
        reset()
        if (calls <= number) break
      }
    } finally {
      lab.close()
    }
  })
})

test('names of interfaces and processes may have any control character', () => {
  for (let code = 1; code < 32; code++) {
    const raw = String.fromCharCode(code)
    // iproute2 and bpftool escape these.
    const short = { 8: 'b', 9: 't', 10: 'n', 12: 'f', 13: 'r' }[code]
    const written = short === undefined ? raw : `\\${short}`
    expect(parseAnswer(`[{"ifname":"e${written}[31m\\"\\\\"}]\n`)).toEqual([{ ifname: `e${raw}[31m"\\` }])
  }
  expect(() => parseAnswer('\u001b[{"ifname"')).toThrow('it is not JSON')
})

test('a name that looks like an option is none for bpftool', async () => {
  const seen: (readonly string[])[] = []
  const restore = useRunner(async (_, argv) => {
    seen.push(argv)
    return { stdout: '[]', stderr: '', exitCode: 0 }
  })
  try {
    for (const name of ['eth0', '-j']) await runBpftool('net', 'detach', 'xdpdrv', 'dev', name)
    await runBpftool('-f', 'prog', 'show', 'id', '7')
  } finally {
    restore()
  }
  expect(seen.map((argv) => argv.join(' '))).toEqual([
    '-j net detach xdpdrv dev eth0',
    '-j -- net detach xdpdrv dev -j',
    '-j -f prog show id 7',
  ])
})
