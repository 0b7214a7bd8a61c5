// npm run test:kernels [-- SERIES…]: boots Debian's kernels of the given series (default: 6.1) in QEMU, and each loads,
// runs and attaches every program. Ends with `N passed, N failed[, N skipped]`; without QEMU or a kernel it skips, with
// the reason.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { relative } from 'node:path'
import { hasApt, install, KERNEL_NEEDS, LIBXDP_NEEDS } from '../lib/host.mjs'
import { at, root } from '../lib/paths.mjs'
import { run, ScriptError } from '../lib/run.mjs'
import { files } from '../lib/stamp.mjs'
import { setup } from '../setup.mjs'
import { boot } from './boot.mjs'
import { bundled } from './bundle.mjs'
import { fetchKernel, Unavailable } from './fetch.mjs'
import { modules, program, writeArchive } from './initramfs.mjs'

const FLOOR = '6.1'
/** The directory of libraries in Debian packages of the guests' architecture. */
const MULTIARCH = 'x86_64-linux-gnu'
/** Devices of the guest's tests. */
const MODULES = ['veth', 'bonding', 'ipip', 'sit', 'ip_gre', 'ip6_tunnel', 'wireguard']
/** Seconds of wall time; on an idle machine all of it takes 150, most of it for emulation. */
const LIMIT = 600

const total = { passed: 0, failed: 0, skipped: 0 }

function count(problems) {
  total.passed += problems.filter((problem) => problem === undefined).length
  const failures = problems.filter((problem) => problem !== undefined)
  total.failed += failures.length
  return failures
}

/** The archive with all files that do not depend on the kernel. */
async function guest(cases) {
  const directory = at('build/kernels/cases')
  rmSync(directory, { recursive: true, force: true })
  const objects = ['xdp.bpf.o', 'explain.bpf.o'].map((name) => at('build', name))
  const variables = cases.prepare(directory, '/cases', objects)
  for (const name of ['check.bpf.o', 'kinds.bpf.o']) copyFileSync(at('build', name), `${directory}/${name}`)
  const entries = new Map()
  for (const name of ['busybox', 'bpftool', 'ip', 'ping', 'ethtool', 'wg']) {
    for (const [path, entry] of await program(name)) entries.set(path, entry)
  }
  entries.set('init', { data: readFileSync(at('scripts/kernels/init')), mode: 0o755 })
  const script = `${variables}${readFileSync(at('scripts/kernels/guest.sh'), 'utf8')}`
  entries.set('guest.sh', { data: Buffer.from(script), mode: 0o644 })
  for (const [path, entry] of await libxdp()) entries.set(path, entry)
  for (const path of files(directory)) {
    entries.set(`cases/${relative(directory, path)}`, { data: readFileSync(path), mode: 0o644 })
  }
  return entries
}

/** xdp-filter with the objects that it loads; none where its package is not available. */
async function libxdp() {
  try {
    await install(LIBXDP_NEEDS)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    skip(`libxdp's dispatcher behind ours: ${error.message}`)
    return []
  }
  const objects = files(`/usr/lib/${MULTIARCH}/bpf`).filter((path) => path.endsWith('.o'))
  const entries = objects.map((path) => [path.slice(1), { data: readFileSync(path), mode: 0o644 }])
  return [...entries, ...(await program('xdp-filter'))]
}

/** Counts the guest's own checks; returns the failures, each with the output that followed it. */
function judgeChecks(output) {
  const blocks = output.split(/^(?=(?:not )?ok )/m).filter((block) => /^(?:not )?ok /.test(block))
  return count(blocks.map((block) => (block.startsWith('ok ') ? undefined : block.trim())))
}

function judgePolicies(output, cases) {
  return cases.POLICIES.filter(({ rows }) => rows.length > 0).flatMap((policy) => {
    const line = new RegExp(`^results ${policy.number} (.*)$`, 'm').exec(output)?.[1] ?? ''
    const answers = (word) =>
      new Map(
        [...output.matchAll(new RegExp(`^${word} ${policy.number} (\\d+) ([0-9a-f]+)$`, 'gm'))].map(([, i, hex]) => [
          Number(i),
          hex,
        ]),
      )
    try {
      const problems = cases.judgePackets(policy, JSON.parse(line), answers('explained'), answers('went'))
      return count(problems).map((problem) => `${policy.name}: ${problem}`)
    } catch {
      return count([`${policy.name}: no results: ${line.slice(0, 500)}`])
    }
  })
}

async function testKernel(series, cases, entries) {
  let kernel
  try {
    kernel = await fetchKernel(series)
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    return skip(error.message)
  }
  const initrd = at(`build/kernels/${kernel.release}.initrd`)
  const loaded = await modules(kernel.modules, MODULES)
  writeArchive(initrd, new Map([...entries, ...loaded]))
  const started = Date.now()
  const log = at(`build/kernels/${kernel.release}.log`)
  const { output, timedOut } = await boot({ image: kernel.image, initrd, log, limit: LIMIT })
  const failures = [...judgeChecks(output), ...judgePolicies(output, cases)]
  const ended = /^end of test$/m.test(output)
  failures.push(...count([ended ? undefined : `the guest did not finish${timedOut ? ` in ${LIMIT} s` : ''}`]))
  const seconds = ((Date.now() - started) / 1000).toFixed(0)
  console.log(`${failures.length === 0 ? 'ok    ' : 'FAILED'} Linux ${kernel.release} in ${seconds} s`)
  for (const failure of failures) console.log(`failed: ${failure}`)
  if (failures.length > 0) console.log(`the guest's console: ${relative(root, log)}`)
  return undefined
}

function skip(reason) {
  total.skipped++
  console.log(`SKIP   ${reason}`)
}

async function everything() {
  if (process.arch !== 'x64') return skip(`the guests are x86-64, this is ${process.arch}`)
  if (!hasApt()) return skip('the kernels come from Debian packages, and this system has no apt')
  try {
    await install(KERNEL_NEEDS)
  } catch (error) {
    if (error instanceof ScriptError) return skip(error.message)
    throw error
  }
  await setup()
  await run(process.execPath, ['scripts/build.mjs', 'generate'])
  mkdirSync(at('build/kernels'), { recursive: true })
  const cases = await bundled('cases')
  const entries = await guest(cases)
  const series = process.argv.slice(2)
  for (const one of series.length > 0 ? series : [FLOOR]) await testKernel(one, cases, entries)
  return undefined
}

try {
  await everything()
} catch (error) {
  total.failed++
  console.log(error instanceof ScriptError ? `error: ${error.message}` : error)
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`)
process.exitCode = total.failed === 0 ? 0 : 1
