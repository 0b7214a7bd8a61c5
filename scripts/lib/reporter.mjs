// A vitest reporter that writes what the runner adds up: passed, failed, and every skipped test with its reason.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { root } from './paths.mjs'

/** Most characters of an error in the summary. */
const LONGEST = 400

/** Vitest skips the tests behind a hook that failed, without a note; and so those that test/support/depth.ts leaves out. */
function whyNot(module, { mode }) {
  if (module.state() === 'failed') return 'not run, as its file failed'
  return mode === 'skip' ? 'left to THOROUGH=1' : 'no reason given'
}

/** What went wrong, in one line: of a long log, the last lines are what many a CI shows. */
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
      // A file that cannot be imported or whose hooks fail has no failed test of its own.
      if (failedHere === 0 && module.state() === 'failed')
        failedHere = summary.failures.push(`${file}: the file: ${briefly(module.errors())}`) && 1
      summary.failed += failedHere
    }
    const target = process.env.TEST_SUMMARY
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, JSON.stringify(summary))
  }
}
