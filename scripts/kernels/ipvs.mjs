// npm run test:ipvs: boots a kernel with IPVS in QEMU, where keepalived loads a configuration and clients connect, and
// compares the table and the shares of connections with an import of the configuration. Ends like test:kernels.
import { mkdirSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { hasApt, IPVS_NEEDS, install } from '../lib/host.mjs'
import { at, root } from '../lib/paths.mjs'
import { run, ScriptError } from '../lib/run.mjs'
import { setup } from '../setup.mjs'
import { Unavailable } from './archive.mjs'
import { boot } from './boot.mjs'
import { bundled } from './bundle.mjs'
import { fetchKernel } from './fetch.mjs'
import { modules, program, writeArchive } from './initramfs.mjs'

const SERIES = '6.1'
/** libcrc32c, which connection tracking needs, finds its algorithm by name. */
const MODULES = ['crc32c_generic', 'veth', 'ip_vs', ...['rr', 'wrr', 'wlc', 'sh'].map((name) => `ip_vs_${name}`)]
/** Seconds of wall time; on an idle machine it takes some 200, most of it for 384 connections. */
const LIMIT = 1200

async function prepare() {
  if (process.arch !== 'x64') throw new Unavailable(`the guests are x86-64, this is ${process.arch}`)
  if (!hasApt()) throw new Unavailable('the kernels come from Debian packages, and this system has no apt')
  try {
    await install(IPVS_NEEDS)
  } catch (error) {
    throw error instanceof ScriptError ? new Unavailable(error.message) : error
  }
  mkdirSync(at('build/kernels'), { recursive: true })
  return fetchKernel(SERIES, { flavour: 'ordinary' })
}

async function test() {
  const kernel = await prepare()
  await setup()
  await run(process.execPath, ['scripts/build.mjs', 'generate'])
  const judge = await bundled('ipvs')
  const entries = new Map()
  for (const name of ['busybox', 'ip', 'ipvsadm', 'keepalived']) {
    for (const [path, entry] of await program(name)) entries.set(path, entry)
  }
  entries.set('init', { data: readFileSync(at('scripts/kernels/init')), mode: 0o755 })
  entries.set('guest.sh', { data: readFileSync(at('scripts/kernels/ipvs-guest.sh')), mode: 0o644 })
  entries.set('keepalived.conf', { data: Buffer.from(judge.CONFIGURATION), mode: 0o644 })
  const initrd = at('build/kernels/ipvs.initrd')
  writeArchive(initrd, new Map([...entries, ...modules(kernel.modules, MODULES)]))
  const log = at('build/kernels/ipvs.log')
  const started = Date.now()
  const { output, timedOut } = await boot({ image: kernel.image, initrd, log, limit: LIMIT })
  const results = await judge.judge(output)
  if (!/^end of test$/m.test(output))
    results.push({ name: 'the guest finishes', problem: timedOut ? 'too slow' : 'it died' })
  const failed = results.filter(({ problem }) => problem !== undefined)
  const seconds = ((Date.now() - started) / 1000).toFixed(0)
  console.log(`${failed.length === 0 ? 'ok    ' : 'FAILED'} Linux ${kernel.release} with IPVS in ${seconds} s`)
  for (const { name, problem } of failed) console.log(`failed: ${name}: ${problem}`)
  if (failed.length > 0) console.log(`the guest's console: ${relative(root, log)}`)
  return { passed: results.length - failed.length, failed: failed.length }
}

try {
  const { passed, failed } = await test()
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
} catch (error) {
  if (error instanceof Unavailable) console.log(`SKIP   ${error.message}\n0 passed, 0 failed, 1 skipped`)
  else {
    console.log(error instanceof ScriptError ? `error: ${error.message}` : error)
    process.exitCode = 1
  }
}
