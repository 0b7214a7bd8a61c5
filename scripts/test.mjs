// npm test: everything. Installs missing requirements, builds, lints, type-checks, runs every suite, and ends with one
// line `N passed, N failed[, N skipped]`. A suite that cannot run here counts as skipped, with its reason, never as
// passed.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { whyNoBpf } from './lib/host.mjs'
import { at } from './lib/paths.mjs'
import { attempt, ScriptError } from './lib/run.mjs'
import { filesLeftOut, seedOfRun } from './lib/turns.mjs'
import { setup } from './setup.mjs'

/** All but the first need a kernel that lets us load programs. */
const SUITES = ['unit', 'bpf', 'e2e']

const total = { passed: 0, failures: [], failed: 0, skipped: [] }

function failed(what) {
  total.failed++
  total.failures.push(what)
}

/** Runs one command of the toolchain; its failure counts as one failed test. Returns whether it succeeded. */
async function tool(name, args) {
  const { status, output } = await attempt(process.execPath, args)
  if (output.trim() !== '' && status !== 0) console.log(output.trimEnd())
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name}`)
  if (status !== 0) failed(name)
  return status === 0
}

/** Runs the suites together, so that no core waits for the last file of one. */
async function suites() {
  const [always, ...needBpf] = SUITES
  const reason = await whyNoBpf()
  if (reason) {
    for (const name of needBpf) {
      console.log(`SKIP   ${name}: ${reason}`)
      total.skipped.push(`the whole suite ${name}: ${reason}`)
    }
  }
  const summary = at('build/test/summary.json')
  rmSync(summary, { force: true })
  const projects = reason ? [always] : SUITES
  const seed = await seedOfRun()
  console.log(`seed   ${seed}; SEED=${seed} repeats this run`)
  const leftOut = reason ? [] : filesLeftOut(seed)
  total.skipped.push(...leftOut.map((file) => `${file}: the whole file: not in this run; THOROUGH=1 runs all`))
  const reporters = ['--reporter=default', '--reporter=./scripts/lib/reporter.mjs']
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...projects.flatMap((name) => ['--project', name]),
    ...reporters,
  ]
  const { status } = await attempt(process.execPath, args, {
    inherit: true,
    env: { ...process.env, TEST_SUMMARY: summary, TEST_LEFT_OUT: leftOut.join(','), SEED: String(seed) },
  })
  const result = existsSync(summary) ? JSON.parse(readFileSync(summary, 'utf8')) : undefined
  if (result) {
    total.passed += result.passed
    total.failed += result.failed
    total.failures.push(...result.failures)
    total.skipped.push(...result.skipped)
  }
  if (!result || (status !== 0 && result.failed === 0)) failed(`the suites ended with status ${status}`)
}

async function everything() {
  try {
    await setup()
  } catch (error) {
    console.log(error instanceof ScriptError ? `error: ${error.message}` : error)
    return failed('setup')
  }
  if (!(await tool('build', ['scripts/build.mjs']))) return undefined
  await Promise.all([
    tool('lint', ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']),
    tool('typecheck', ['node_modules/typescript/bin/tsc', '-p', '.']),
  ])
  return suites()
}

await everything()
for (const what of total.skipped) console.log(`skipped: ${what}`)
for (const what of total.failures) console.log(`failed: ${what}`)
const skipped = total.skipped.length > 0 ? `, ${total.skipped.length} skipped` : ''
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`)
process.exitCode = total.failed === 0 ? 0 : 1
