// A config of many services, read again and again: only services whose text is another are read anew.

import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Loaded, loadConfig } from '../../../src/config/load.ts'
import type { KnownServices } from '../../../src/config/services/service-texts.ts'
import { XdpError } from '../../../src/diagnostics.ts'
import { backendKey } from '../../../src/model/service.ts'

let directory: string
const path = (): string => join(directory, 'xdp.yaml')

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const SERVICES = 60

/** `edit` gets the number and text of each service. */
function write(edit: (number: number, text: string) => string = (_, text) => text): void {
  const services = Array.from({ length: SERVICES }, (_, number) => {
    const backends = Array.from({ length: 60 }, (__, i) => `10.0.${number}.${i + 1}`)
    const rest = `protocol: tcp, forwarding: dsr, backends: [${backends.join(', ')}] }`
    return edit(number, `  s${number}: { vip: 203.0.113.${number + 1}, port: 80, ${rest}\n`)
  })
  const tail = 'watch: { debounce: 1s }\n'
  writeFileSync(path(), `version: 1\ninterfaces: { eth0: {} }\nservices:\n${services.join('')}${tail}`)
}

/** Everything that is said, with the places of all backends. */
function told({ desired, warnings }: Loaded): unknown {
  const places = [...desired.provenance.services].map(([name, { at, vip, backend }]) => {
    const service = desired.state.services.get(name)
    return [name, at, vip, service?.backends.map((one) => backend(backendKey(one)))]
  })
  return { desired: { ...desired, provenance: undefined }, places, warnings }
}

test('an edit of one service leaves all the others the very same, wherever they stand now', async () => {
  const services: KnownServices = new Map()
  write()
  const before = await loadConfig(path(), { shelf: { services } })
  write((number, text) =>
    number === 7 ? `${text.replace('10.0.7.3,', '{ address: 10.0.7.3, weight: 2 },')}\n# new\n` : text,
  )
  const after = await loadConfig(path(), { shelf: { services } })
  expect(told(after)).toEqual(told(await loadConfig(path())))
  const changed = [...after.desired.state.services].filter(
    ([name, service]) => before.desired.state.services.get(name) !== service,
  )
  expect(changed.map(([name]) => name)).toEqual(['s7'])
  expect(changed[0]?.[1].backends[2]?.weight).toBe(2)
  const kept = [...services.values()].flatMap((texts) => [...texts.values()])
  expect(kept).toHaveLength(SERVICES)
  // What is kept would keep the text of the whole file with it.
  expect(kept.filter(({ read }) => read === undefined || 'reading' in read)).toEqual([])
})

const complaints = async (services?: KnownServices): Promise<unknown> =>
  loadConfig(path(), services ? { shelf: { services } } : {}).then(
    () => 'none',
    (error: unknown) => (error instanceof XdpError ? error.diagnostics : error),
  )

test.each([
  ['an address that is none', (text: string) => text.replace('10.0.9.4,', '10.0.9.400,')],
  ['a key that is none', (text: string) => text.replace('port:', 'prot:')],
  ['a bracket that is missing', (text: string) => text.replace('] }', ' }')],
  ['a VIP that another service has', (text: string) => text.replace('203.0.113.10', '203.0.113.3')],
  ['a name that another service has', (text: string) => text.replace('s9:', 's10:')],
])('%s is told as ever, and again as long as it is there', async (_, damage) => {
  const services: KnownServices = new Map()
  write()
  await loadConfig(path(), { shelf: { services } })
  write((number, text) => (number === 9 ? damage(text) : text))
  const expected = await complaints()
  expect(expected).toContainEqual(expect.objectContaining({ severity: 'error', at: expect.anything() }))
  expect(await complaints(services)).toEqual(expected)
  expect(await complaints(services)).toEqual(expected)
})

test('a warning of a service is told with every reading', async () => {
  const services: KnownServices = new Map()
  write((number, text) => (number === 5 ? text.replace(/\[.*\]/, '[]') : text))
  const first = await loadConfig(path(), { shelf: { services } })
  const second = await loadConfig(path(), { shelf: { services } })
  expect(second.warnings).toEqual(first.warnings)
  expect(second.warnings.map(({ code }) => code)).toEqual(['W005'])
})

/** A file of many services, changed by `edit`. */
function writeEdited(edit: (text: string) => string): void {
  write()
  writeFileSync(path(), edit(readFileSync(path(), 'utf8')))
}

test.each([
  ['a line separator in a comment ends no line', (text: string) => `${text}  # old\u2028policy: { default: drop }\n`],
  [
    'nor does one before a service that was commented out',
    (text: string) => text.replace('watch:', '  # was:\u2028  gone: { vip: 192.0.2.1, port: 1 }\nwatch:'),
  ],
])('%s', async (_, edit) => {
  writeEdited(edit)
  const { state } = (await loadConfig(path())).desired
  expect([state.policy?.default, state.services.size]).toEqual(['pass', SERVICES])
})

test.each([
  ['braces around all of the file', (text: string) => `{\n${text.replace('version: 1\n', 'version: 1,\n')}}\n`],
  [
    'a directive that gives tags another meaning',
    (text: string) => `%TAG !! tag:evil,2000:\n---\n${text.replace('port: 80', 'port: !!int 80')}`,
  ],
])('%s are an error however long the file is', async (_, edit) => {
  writeEdited(edit)
  expect(await complaints()).toContainEqual(expect.objectContaining({ code: 'E005' }))
})

test('services of an included file that is gone are forgotten', async () => {
  const services: KnownServices = new Map()
  write()
  renameSync(path(), join(directory, 'old.yaml'))
  const withoutWatch = readFileSync(join(directory, 'old.yaml'), 'utf8').replace(/^watch.*\n/m, '')
  for (const name of ['a.yaml', 'b.yaml']) {
    writeFileSync(join(directory, name), withoutWatch)
    writeFileSync(path(), `version: 1\ninclude: [${name}]\n`)
    await loadConfig(path(), { shelf: { services } })
  }
  expect([...services.keys()]).toEqual([join(directory, 'b.yaml')])
})
