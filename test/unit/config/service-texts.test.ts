// A config of many services, read several times: only services whose text changed are parsed again.

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

/** The whole result, with the places of all backends. */
function resultOf({ desired, warnings }: Loaded): unknown {
  const places = [...desired.provenance.services].map(([name, { at, vip, backend }]) => {
    const service = desired.state.services.get(name)
    return [name, at, vip, service?.backends.map((one) => backend(backendKey(one)))]
  })
  return { desired: { ...desired, provenance: undefined }, places, warnings }
}

test('an edit of one service keeps the objects of all others, even if they move', async () => {
  const services: KnownServices = new Map()
  write()
  const before = await loadConfig(path(), { shelf: { services } })
  write((number, text) =>
    number === 7 ? `${text.replace('10.0.7.3,', '{ address: 10.0.7.3, weight: 2 },')}\n# new\n` : text,
  )
  const after = await loadConfig(path(), { shelf: { services } })
  expect(resultOf(after)).toEqual(resultOf(await loadConfig(path())))
  const changed = [...after.desired.state.services].filter(
    ([name, service]) => before.desired.state.services.get(name) !== service,
  )
  expect(changed.map(([name]) => name)).toEqual(['s7'])
  expect(changed[0]?.[1].backends[2]?.weight).toBe(2)
  const kept = [...services.values()].flatMap((texts) => [...texts.values()])
  expect(kept).toHaveLength(SERVICES)
  // A kept reading would keep the text of the whole file in memory.
  expect(kept.filter(({ read }) => read === undefined || 'reading' in read)).toEqual([])
})

const complaints = async (services?: KnownServices): Promise<unknown> =>
  loadConfig(path(), services ? { shelf: { services } } : {}).then(
    () => 'none',
    (error: unknown) => (error instanceof XdpError ? error.diagnostics : error),
  )

test.each([
  ['an invalid address', (text: string) => text.replace('10.0.9.4,', '10.0.9.400,')],
  ['an unknown key', (text: string) => text.replace('port:', 'prot:')],
  ['a missing bracket', (text: string) => text.replace('] }', ' }')],
  ['the VIP of another service', (text: string) => text.replace('203.0.113.10', '203.0.113.3')],
  ['the name of another service', (text: string) => text.replace('s9:', 's10:')],
])('%s is reported like in a full parse, on every reading', async (_, damage) => {
  const services: KnownServices = new Map()
  write()
  await loadConfig(path(), { shelf: { services } })
  write((number, text) => (number === 9 ? damage(text) : text))
  const expected = await complaints()
  expect(expected).toContainEqual(expect.objectContaining({ severity: 'error', at: expect.anything() }))
  expect(await complaints(services)).toEqual(expected)
  expect(await complaints(services)).toEqual(expected)
})

test('a warning about a service is reported on every reading', async () => {
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
  [
    'a line separator in a comment does not end the line',
    (text: string) => `${text}  # old\u2028policy: { default: drop }\n`,
  ],
  [
    'a line separator before a commented-out service does not end the line',
    (text: string) => text.replace('watch:', '  # was:\u2028  gone: { vip: 192.0.2.1, port: 1 }\nwatch:'),
  ],
])('%s', async (_, edit) => {
  writeEdited(edit)
  const { state } = (await loadConfig(path())).desired
  expect([state.policy?.default, state.services.size]).toEqual(['pass', SERVICES])
})

test.each([
  ['braces around the whole file', (text: string) => `{\n${text.replace('version: 1\n', 'version: 1,\n')}}\n`],
  [
    'a directive that changes the meaning of tags',
    (text: string) => `%TAG !! tag:evil,2000:\n---\n${text.replace('port: 80', 'port: !!int 80')}`,
  ],
])('%s: an error in a file of any length', async (_, edit) => {
  writeEdited(edit)
  expect(await complaints()).toContainEqual(expect.objectContaining({ code: 'E005' }))
})

test('services of an included file that was removed are dropped', async () => {
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
