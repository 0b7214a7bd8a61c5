// A vitest reporter that writes the summary for the runner: passed, failed, and every skipped test with its reason.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { root } from './paths.mjs'

/** Maximum number of characters of an error in the summary. */
const LONGEST = 400

/**
 * Vitest skips the tests behind a failed hook without a note, as it does those that test/support/depth.ts leaves out.
 */
function whyNot(module, { mode }) {
  if (module.state() === 'failed') return 'not run, because its file failed'
  return mode === 'skip' ? 'not in this run; THOROUGH=1 runs all' : 'no reason given'
}

/** The error in one line: of a long log, many CI systems show the last lines. */
function briefly([error]) {
  const text = error ? stripVTControlCharacters(error.message).trim() : 'no reason given'
  const line = text.replaceAll(/\s*\n\s*/g, ' | ')
  return line.length > LONGEST ? `${line.slice(0, LONGEST)} …` : line
}

export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const summary = { passed: 0, failed: unhandledErrors.length, failures: [], skipped: [] }
    for (const { message } of unhandledErrors) summary.failures.push(`outside of any test: ${message}`)
    for (const module of modules) {
      const file = relative(root, module.moduleId)
      let failedHere = 0
      for (const test of module.children.allTests()) {
        const { state, note, errors } = test.result()
        if (state === 'passed') summary.passed++
        else if (state === 'failed')
          failedHere += summary.failures.push(`${file}: ${test.fullName}: ${briefly(errors)}`) && 1
        else summary.skipped.push(`${file}: ${test.fullName}: ${note ?? whyNot(module, test.options)}`)
      }
      // A file that cannot be imported, or whose hooks fail, has no failed test itself.
      if (failedHere === 0 && module.state() === 'failed')
        failedHere = summary.failures.push(`${file}: the whole file: ${briefly(module.errors())}`) && 1
      summary.failed += failedHere
    }
    const target = process.env.TEST_SUMMARY
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, JSON.stringify(summary))
  }
}
