// docs/errors.md lists every code, and each of its examples causes the error of its section.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { CODES, type Code, XdpError } from '../../../src/diagnostics.ts'

const TEXT = readFileSync(join(import.meta.dirname, '../../../docs/errors.md'), 'utf8')

interface Section {
  readonly code: Code
  readonly name: string
  readonly body: string
}

const sections: readonly Section[] = TEXT.split(/^### /m)
  .slice(1)
  .map((text) => {
    const [, code, name] = /^(\w+) (\S+)\n/.exec(text) ?? []
    return { code: code as Code, name: name ?? '', body: text }
  })

/** The codes that xdp reports for an example in an empty directory. */
async function codesOf(language: string, example: string): Promise<readonly string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'xdp-errors-'))
  const path = join(directory, 'xdp.yaml')
  try {
    if (language === 'yaml') writeFileSync(path, example)
    else execFileSync('sh', ['-ec', example], { cwd: directory })
    return (await loadConfig(path)).warnings.map(({ code }) => code)
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return error.diagnostics.map(({ code }) => code)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

test('every code has a section, with its name and in order, and every section has a code', () => {
  expect(sections.map(({ code, name }) => `${code} ${name}`)).toEqual(
    Object.entries(CODES).map(([code, { name }]) => `${code} ${name}`),
  )
})

test('each section states an exit status that differs from that of its chapter', () => {
  for (const { code, body } of sections) {
    const stated = /Exit status (\d+)\./.exec(body)?.[1]
    const usual = code.startsWith('W') ? 0 : 78
    expect([code, Number(stated ?? usual)]).toEqual([code, CODES[code].exit])
  }
})

const examples = sections.flatMap(({ code, body }) =>
  [...body.matchAll(/^```(yaml|sh)\n(.*?)^```$/gms)].map(([, language = '', example = '']) => ({
    code,
    language,
    example,
  })),
)

test('every config error has an example', () => {
  const config = Object.keys(CODES).filter((code) => /^(?:[EW]0|E13[345]|W27[0-25])/.test(code))
  expect([...new Set(examples.map(({ code }) => code))]).toEqual(config)
})

test.each(examples)('the example of $code causes $code only', async ({ code, language, example }) => {
  expect(await codesOf(language, example)).toEqual([code])
})
