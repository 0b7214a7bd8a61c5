// Every folder of test/golden/errors has an invalid config and the expected errors. A new folder is a new test;
// UPDATE_GOLDEN=1 writes the current output.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { XdpError } from '../../src/diagnostics.ts'
import { renderDiagnostics, renderErrorJson } from '../../src/render/diagnostic.ts'

const CASES = join(import.meta.dirname, 'errors')

async function load(path: string): Promise<XdpError> {
  try {
    await loadConfig(path)
  } catch (error) {
    if (error instanceof XdpError) return error
    throw error
  }
  throw new Error(`${path} is valid`)
}

test.each(readdirSync(CASES))('%s', async (name) => {
  const directory = join(CASES, name)
  const error = await load(join(directory, 'xdp.yaml'))
  const text = renderDiagnostics(error.diagnostics, { color: false, omitted: error.omitted })
  const relative = text.replaceAll(`${directory}/`, '').replaceAll(directory, '.')
  const golden = join(directory, 'stderr.txt')
  if (process.env['UPDATE_GOLDEN']) writeFileSync(golden, relative)
  expect(existsSync(golden) ? readFileSync(golden, 'utf8') : '').toBe(relative)
  const json = JSON.parse(renderErrorJson(error.diagnostics, error.omitted))
  expect(json).toMatchObject({ format_version: '1.0', error: json.errors[0], omitted: error.omitted })
  expect(json.errors).toHaveLength(error.diagnostics.length)
})
