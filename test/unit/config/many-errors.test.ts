// Files with very many errors: the work of explaining them is bounded, and the count of the rest is exact.
import { expect, test } from 'vitest'
import { validate } from '../../../src/config/generated/validate.js'
import { parse } from '../../../src/config/text/parse.ts'
import { createReport } from '../../../src/config/text/report.ts'
import { reportSchemaErrors } from '../../../src/config/text/schema-errors.ts'
import { createSource, type Source } from '../../../src/config/text/source.ts'
import { XdpError } from '../../../src/diagnostics.ts'
import { HEAD, loadText } from '../../support/config.ts'

const lines = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('')

async function errorsOf(text: string): Promise<XdpError> {
  const error: unknown = await loadText(text).catch((cause: unknown) => cause)
  if (error instanceof XdpError) return error
  throw new Error('the text is valid')
}

/** How many errors of a text are located, which each explanation does once or twice. */
function located(text: string): number {
  let count = 0
  const whole = createSource('xdp.yaml', text)
  const source: Source = {
    ...whole,
    locate(from, to) {
      count++
      return whole.locate(from, to)
    },
  }
  const report = createReport(['xdp.yaml'])
  const root = parse(source, report)
  if (root && !validate(root.value)) reportSchemaErrors(validate.errors ?? [], { root, source, report })
  return count
}

const KINDS = {
  'unknown keys': (count: number) => HEAD + lines(count, (i) => `k${i}: 1\n`),
  'unknown keys of one entry': (count: number) =>
    `${HEAD}blocklist:\n - cidr: 192.0.2.1\n${lines(count, (i) => `   k${i}: 1\n`)}`,
  'entries without addresses': (count: number) => `${HEAD}blocklist:\n${lines(count, () => ' - {comment: a}\n')}`,
  'values of the wrong type': (count: number) => `${HEAD}blocklist:\n${lines(count, (i) => ` - ${i}\n`)}`,
  'values on one line': (count: number) => `${HEAD}blocklist: [${lines(count, (i) => `${i}, `)}]\n`,
  'tags of no meaning': (count: number) => `${HEAD}blocklist:\n${lines(count, (i) => ` - !t${i} a\n`)}`,
}

test.each(Object.entries(KINDS))('%s: explains as many for 20,000 as for 2,000', (_, text) => {
  expect(located(text(2000))).toBeGreaterThan(20)
  expect(located(text(20_000))).toBe(located(text(2000)))
})

test.each(Object.entries(KINDS))('%s: shows the first 20 in file order, and counts the rest', async (_, text) => {
  const { diagnostics, omitted } = await errorsOf(text(5000))
  expect(diagnostics.length + omitted).toBe(5000)
  expect(diagnostics).toHaveLength(20)
  const few = await errorsOf(text(20))
  const place = ({ code, message, at }: (typeof diagnostics)[number]): unknown[] => [
    code,
    message,
    at?.line,
    at?.column,
  ]
  expect(diagnostics.map(place)).toEqual(few.diagnostics.map(place))
})

test('errors that other rules find are counted exactly too', async () => {
  const { diagnostics, omitted } = await errorsOf(`${HEAD}blocklist:\n${lines(10_000, (i) => ` - x${i}\n`)}`)
  expect([diagnostics.length, omitted]).toEqual([20, 9980])
  expect(diagnostics.map(({ at }) => at?.line)).toEqual(Array.from({ length: 20 }, (_, i) => 4 + i))
})

// Searching the list of files for each of them takes minutes.
test('very many missing files are reported', async () => {
  const { diagnostics, omitted } = await errorsOf(`${HEAD}include: [${lines(60_000, (i) => `m${i}, `)}]\n`)
  expect([diagnostics.length, omitted]).toEqual([20, 59_980])
  expect(diagnostics[0]?.message).toMatch(/m0 does not exist$/)
})
