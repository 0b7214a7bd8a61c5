// npm run test:kernels [-- KERNEL…|all] [--scope=SCOPE] [--record], or [-- --image=FILE [--modules=DIR]]: boots Debian's
// kernels in QEMU. On each, every program loads and judges packets, links are filtered, and the executable filters and
// balances on virtio_net in native mode. Without names: the programs on Linux 6.1, and another part in turns; with THOROUGH=1
// or `all` the whole matrix (matrix.mjs has kernels and scopes). `--image`: a kernel in a file of this host (own.mjs).
// `--record`, and `all`, write test/kernels/results.json, from which the build makes docs/compatibility.md. Ends with
// `N passed, N failed[, N skipped]`; without QEMU or a kernel it skips, with the reason.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { ARM_NEEDS, hasApt, install, KERNEL_NEEDS } from '../lib/host.mjs'
import { at, root } from '../lib/paths.mjs'
import { run, ScriptError } from '../lib/run.mjs'
import { turnOf } from '../lib/turns.mjs'
import { setup } from '../setup.mjs'
import { Unavailable } from './archive.mjs'
import { boot } from './boot.mjs'
import { bundled } from './bundle.mjs'
import { fetchKernel } from './fetch.mjs'
import { plansFor } from './guests.mjs'
import { modules, writeArchive } from './initramfs.mjs'
import { instructionsOf, judge } from './judge.mjs'
import { FLOOR, KERNELS, kernelNamed, SCOPES, TURNS } from './matrix.mjs'
import { ownKernel } from './own.mjs'
import { RESULTS, recorded, summaryOf } from './results.mjs'

const total = { passed: 0, failed: 0, skipped: 0 }

function skip(reason) {
  total.skipped++
  console.log(`SKIP   ${reason}`)
}

/** Boots one guest. Returns its results and its console. */
async function testGuest(kernel, plan, context) {
  const { name, limit, machine, needed } = plan
  const path = at(`build/kernels/${kernel.release}-${name}`)
  const initrd = `${path}.initrd`
  let entries
  try {
    entries = await plan.entries()
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    skip(`Linux ${kernel.release}: ${name}: ${error.message}`)
    return { results: [], instructions: {} }
  }
  writeArchive(initrd, new Map([...entries, ...modules(kernel.modules, needed)]))
  const started = Date.now()
  const log = `${path}.log`
  const ran = await boot({ image: kernel.image, initrd, log, limit, ...machine })
  const results = judge(ran, { cases: plan.judges ? context.cases : undefined, numbers: plan.numbers, limit })
  const failed = results.filter(({ problem }) => problem !== undefined)
  total.failed += failed.length
  total.passed += results.length - failed.length
  const seconds = ((Date.now() - started) / 1000).toFixed(0)
  console.log(`${failed.length === 0 ? 'ok    ' : 'FAILED'} Linux ${kernel.release}: ${name} in ${seconds} s`)
  for (const { problem } of failed) console.log(`failed: ${problem}`)
  if (failed.length > 0) console.log(`the guest's console: ${relative(root, log)}`)
  return { results, instructions: instructionsOf(ran.output) }
}

/** Tests one kernel; returns the record of it, also of one that is not to be had. */
async function testKernel(wanted, scope, context) {
  const { name, series, architecture, own } = wanted
  let kernel
  let plans
  try {
    kernel = own ?? (await fetchKernel(series, { architecture }))
    plans = await plansFor({ release: kernel.release, architecture }, scope, { ...context, skip })
  } catch (error) {
    if (!(error instanceof Unavailable) && !(error instanceof ScriptError)) throw error
    skip(error.message)
    return { name, absent: error.message }
  }
  const ran = []
  for (const plan of plans) ran.push(await testGuest(kernel, plan, context))
  return summaryOf({ name, architecture, release: kernel.release, suite: kernel.suite }, ran, context.cases.SAMPLE)
}

async function needs(names) {
  await install(names.includes('arm64') ? [...KERNEL_NEEDS, ...ARM_NEEDS] : KERNEL_NEEDS)
}

/** The kernels to test, each with its scope. */
async function wantedKernels(names, scope, files) {
  if (files.image !== undefined) {
    const own = ownKernel(files.image, files.modules)
    return [[{ name: own.release, architecture: 'amd64', own }, scope]]
  }
  if (names.includes('all') || (names.length === 0 && process.env.THOROUGH === '1')) {
    return KERNELS.map((kernel) => [kernel, 'whole'])
  }
  if (names.length > 0) return names.map((name) => [kernelNamed(name), scope])
  const turn = await turnOf(TURNS, 'kernel')
  return [
    [kernelNamed(FLOOR), 'links'],
    [kernelNamed(turn.name), turn.scope],
  ]
}

async function everything(names, { scope: given, isRecording, files }) {
  if (process.arch !== 'x64') return skip(`the guests are made on x86-64, this is ${process.arch}`)
  if (!hasApt()) return skip('the kernels come from Debian packages, and this system has no apt')
  const wanted = await wantedKernels(names, given, files)
  try {
    await needs(wanted.map(([{ name }]) => name))
  } catch (error) {
    if (error instanceof ScriptError) return skip(error.message)
    throw error
  }
  await setup()
  await run(process.execPath, ['scripts/build.mjs'])
  mkdirSync(at('build/kernels'), { recursive: true })
  const context = { cases: await bundled('cases') }
  for (const [kernel, scope] of wanted) {
    const record = await testKernel(kernel, scope, context)
    if (isRecording) write(record)
  }
  return undefined
}

/** Writes a record into the file with all of them. */
function write(record) {
  const before = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : undefined
  writeFileSync(RESULTS, recorded(before, [record]))
  console.log(`wrote  ${relative(root, RESULTS)}`)
}

try {
  const options = {
    ...{ record: { type: 'boolean', default: false }, scope: { type: 'string', default: 'whole' } },
    ...{ image: { type: 'string' }, modules: { type: 'string' } },
  }
  const { positionals: names, values } = parseArgs({ options, allowPositionals: true })
  if (!SCOPES.includes(values.scope)) throw new ScriptError(`"${values.scope}" is no scope: ${SCOPES.join(', ')}`)
  const isRecording = values.record || names.includes('all')
  if (isRecording && values.scope !== 'whole') throw new ScriptError('only the whole scope can be recorded')
  const files = { image: values.image, modules: values.modules }
  if (files.image !== undefined && (names.length > 0 || isRecording)) {
    throw new ScriptError('--image tests one kernel, and its result is not recorded')
  }
  if (files.modules !== undefined && files.image === undefined) throw new ScriptError('--modules needs --image')
  await everything(names, { scope: values.scope, isRecording, files })
} catch (error) {
  total.failed++
  console.log(error instanceof ScriptError ? `error: ${error.message}` : error)
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`)
process.exitCode = total.failed === 0 ? 0 : 1
