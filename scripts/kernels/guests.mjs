// The guests of a kernel: which of its devices, programs and scripts each one has. A guest is an archive of files for its
// memory, whose /guest.sh is made of variables and pieces of scripts/kernels/*.sh.
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { relative } from 'node:path'
import { install, LIBXDP_NEEDS } from '../lib/host.mjs'
import { at } from '../lib/paths.mjs'
import { ScriptError } from '../lib/run.mjs'
import { files, step } from '../lib/stamp.mjs'
import { turnOf } from '../lib/turns.mjs'
import { makeExecutable } from '../package/executable.mjs'
import { nodeFor } from '../package/node.mjs'
import { Unavailable } from './archive.mjs'
import { macOf, whyNoWires } from './boot.mjs'
import { foreignPrograms } from './foreign.mjs'
import { libraries, program } from './initramfs.mjs'
import { isBelowFloor } from './matrix.mjs'

/** The directories of libraries in Debian packages. */
const TRIPLETS = { amd64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }

const file = (path, mode = 0o644) => ({ data: readFileSync(path), mode })

/** The first process of a guest and its script: variables, and pieces of scripts in this directory. */
function scripts(variables, pieces) {
  const lines = Object.entries(variables).map(([name, value]) => `${name}="${value}"\n`)
  const texts = ['check.sh', ...pieces].map((name) => readFileSync(at('scripts/kernels', name), 'utf8'))
  return [
    ['init', file(at('scripts/kernels/init'), 0o755)],
    ['guest.sh', { data: Buffer.from([...lines, ...texts].join('\n')), mode: 0o644 }],
  ]
}

/** Programs of this machine, by name. */
const programs = async (names) => (await Promise.all(names.map(program))).flat()

/** xdp-filter with the objects that it loads; none where its package is not available. */
async function libxdp(skip) {
  try {
    await install(LIBXDP_NEEDS)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    skip(`libxdp's dispatcher behind ours: ${error.message}`)
    return []
  }
  const objects = files(`/usr/lib/${TRIPLETS.amd64}/bpf`).filter((path) => path.endsWith('.o'))
  return [...objects.map((path) => [path.slice(1), file(path)]), ...(await program('xdp-filter'))]
}

/** Writes the input of test/kernels/cases.ts; returns the variables of its scripts and its files. */
function prepared(cases, numbers) {
  const directory = at('build/kernels/cases')
  rmSync(directory, { recursive: true, force: true })
  const objects = ['xdp.bpf.o', 'explain.bpf.o'].map((name) => at('build', name))
  const variables = cases.prepare(directory, '/cases', objects, numbers)
  for (const name of ['check.bpf.o', 'kinds.bpf.o']) copyFileSync(at('build', name), `${directory}/${name}`)
  return { variables, entries: files(directory).map((path) => [`cases/${relative(directory, path)}`, file(path)]) }
}

/** Programs for a guest of an architecture, in the words of Debian. */
const toolsFor = (architecture) =>
  architecture === 'amd64'
    ? programs(['busybox', 'bpftool', 'ip', 'ping', 'ethtool', 'flock', 'wg'])
    : foreignPrograms(architecture, TRIPLETS[architecture])

/** The programs, loaded and run by bpftool alone: every policy, or those of given numbers, and then links. */
async function policiesGuest(cases, { architecture, numbers, links, skip }) {
  const { variables, entries } = prepared(cases, numbers)
  return new Map([
    ...(await toolsFor(architecture)),
    ...scripts(variables, links ? ['policies.sh', 'links.sh'] : ['policies.sh']),
    ...(links ? await libxdp(skip) : []),
    ...entries,
  ])
}

/** The interfaces of wires.sh. */
const WIRED = { front_mac: macOf(0), back_mac: macOf(1), client_mac: macOf(2), server_mac: macOf(3) }

/** The executable of an architecture, as `npm run package` makes it. Throws Unavailable without its Node. */
async function executable(architecture) {
  try {
    await nodeFor(architecture)
  } catch (error) {
    throw error instanceof ScriptError ? new Unavailable(error.message) : error
  }
  const target = at(`build/kernels/xdp-${architecture}`)
  const inputs = files(at('dist'), at('scripts/package'))
  await step(`kernels-${architecture}`, { inputs, outputs: [target] }, () => makeExecutable(architecture, target))
  return target
}

/** The executable on interfaces of virtio_net, and a script for it. */
async function commandGuest(architecture, piece) {
  const path = await executable(architecture === 'amd64' ? 'x64' : architecture)
  return new Map([
    ...(await toolsFor(architecture)),
    ...(architecture === 'amd64' ? await libraries(path) : []),
    ...scripts({ ...WIRED, feature: 'virtio' }, ['wires.sh', piece]),
    ['xdp', file(path, 0o755)],
  ])
}

/** Devices of the tests. */
const LINKS = ['veth', 'bonding', 'ipip', 'sit', 'ip_gre', 'ip6_tunnel', 'wireguard']
const VIRTIO = ['virtio_pci', 'virtio_net']
/** Devices of command.sh. */
const COMMAND = [...VIRTIO, 'veth', 'bonding', 'ip_gre']

/** Seconds of wall time for emulation on a busy machine; on an idle one it takes a quarter. */
const LIMITS = { policies: 900, command: 900, below: 300 }

/** The numbers of the policies in a scope; undefined: all. */
async function numbersIn(scope, { POLICIES, FORWARDING_NUMBERS, SAMPLE }) {
  if (scope === 'sample') return SAMPLE
  if (scope === 'whole') return undefined
  const forwarding = await turnOf(FORWARDING_NUMBERS, 'forwarding')
  const numbers = POLICIES.map(({ number }) => number)
  return numbers.filter((number) => number === forwarding || !FORWARDING_NUMBERS.includes(number))
}

/**
 * The guests of a kernel in a scope (matrix.mjs), each with its machine, its files and the modules that it needs. Another
 * architecture has a sample of the policies.
 */
export async function plansFor({ release, architecture }, scope, { cases, skip }) {
  const command = async (name, piece) => {
    const why = await whyNoWires()
    if (why !== undefined) {
      skip(`Linux ${release}: ${why}`)
      return []
    }
    const machine = { architecture, cpus: 2, memory: 1536, wires: true }
    const entries = () => commandGuest(architecture, piece)
    return [
      { name, limit: LIMITS[name], machine, needed: name === 'command' ? COMMAND : VIRTIO, judges: false, entries },
    ]
  }
  if (isBelowFloor(release)) return command('below', 'below.sh')
  const isWhole = scope === 'whole'
  const links = architecture === 'amd64' && (isWhole || scope === 'links')
  const numbers = await numbersIn(links ? scope : 'sample', cases)
  const policies = {
    ...{ name: 'policies', limit: LIMITS.policies, machine: { architecture }, needed: links ? LINKS : [] },
    ...{ judges: true, numbers },
    entries: () => policiesGuest(cases, { architecture, numbers, links, skip }),
  }
  return [
    ...(scope === 'command' ? [] : [policies]),
    ...(isWhole || scope === 'command' ? await command('command', 'command.sh') : []),
  ]
}
