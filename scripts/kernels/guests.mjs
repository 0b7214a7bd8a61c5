// The guests of a kernel: which of its devices, programs and scripts each one has. A guest is an archive of files for its
// memory, whose /guest.sh is made of variables and pieces of scripts/kernels/*.sh.
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { relative } from 'node:path'
import { install, LIBXDP_NEEDS } from '../lib/host.mjs'
import { at } from '../lib/paths.mjs'
import { ScriptError } from '../lib/run.mjs'
import { files, step } from '../lib/stamp.mjs'
import { makeExecutable } from '../package/executable.mjs'
import { macOf } from './boot.mjs'
import { libraries, program } from './initramfs.mjs'
import { isBelowFloor } from './matrix.mjs'

/** The directory of libraries in Debian packages of the guests' architecture. */
const MULTIARCH = 'x86_64-linux-gnu'

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
  const objects = files(`/usr/lib/${MULTIARCH}/bpf`).filter((path) => path.endsWith('.o'))
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

/** The programs, loaded and run by bpftool alone: every policy, or those of given numbers, and then links. */
export async function policiesGuest(cases, { numbers, links, skip }) {
  const { variables, entries } = prepared(cases, numbers)
  return new Map([
    ...(await programs(['busybox', 'bpftool', 'ip', 'ping', 'ethtool', 'wg'])),
    ...scripts(variables, links ? ['policies.sh', 'links.sh'] : ['policies.sh']),
    ...(links ? await libxdp(skip) : []),
    ...entries,
  ])
}

/** The interfaces of command.sh. */
export const WIRED = { front_mac: macOf(0), back_mac: macOf(1), client_mac: macOf(2), server_mac: macOf(3) }

/** The executable of an architecture, as `npm run package` makes it. */
export async function executable(architecture) {
  const target = at(`build/kernels/xdp-${architecture}`)
  const inputs = files(at('dist'), at('scripts/package'))
  await step(`kernels-${architecture}`, { inputs, outputs: [target] }, () => makeExecutable(architecture, target))
  return target
}

/** The executable on interfaces of virtio_net, or with `piece` another script for it. */
export async function commandGuest(piece = 'command.sh') {
  const path = await executable('x64')
  return new Map([
    ...(await programs(['busybox', 'bpftool', 'ip', 'ping', 'ethtool', 'flock'])),
    ...(await libraries(path)),
    ...scripts({ ...WIRED, feature: 'virtio' }, ['wires.sh', piece]),
    ['xdp', file(path, 0o755)],
  ])
}

/** Devices of the tests. */
const LINKS = ['veth', 'bonding', 'ipip', 'sit', 'ip_gre', 'ip6_tunnel', 'wireguard']
const VIRTIO = ['virtio_pci', 'virtio_net']

/** Seconds of wall time for emulation on a busy machine; on an idle one it takes a quarter. */
const LIMITS = { policies: 600, command: 420, below: 240 }

/** The guests of a kernel, each with its machine, its files and the modules that it needs; fewer if the test is short. */
export async function plansFor({ series }, isShort, { cases, skip }) {
  const command = (name, piece) => ({
    name,
    limit: LIMITS[name],
    machine: { cpus: 2, memory: 1536, wires: true },
    needed: VIRTIO,
    judges: false,
    entries: () => commandGuest(piece),
  })
  if (isBelowFloor(series)) return [command('below', 'below.sh')]
  const numbers = isShort ? cases.SAMPLE : undefined
  const policies = {
    name: 'policies',
    limit: LIMITS.policies,
    machine: {},
    needed: isShort ? [] : LINKS,
    judges: true,
    numbers,
    entries: () => policiesGuest(cases, { numbers, links: !isShort, skip }),
  }
  return isShort ? [policies] : [policies, command('command', 'command.sh')]
}
