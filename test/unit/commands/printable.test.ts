// No text reaches a terminal with characters on which it acts, but for our own colours.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { printable } from '../../../src/commands/cli/printable.ts'
import { jsonDocument } from '../../../src/render/json.ts'
import { usually } from '../../support/depth.ts'

const ESCAPE = String.fromCharCode(27)
const CSI = String.fromCharCode(0x9b)
const BELL = String.fromCharCode(7)

test.each([
  [`title ${ESCAPE}]0;owned${BELL}`, 'title \ufffd]0;owned\ufffd'],
  [`${CSI}2Jcleared`, '\ufffd2Jcleared'],
  [`${ESCAPE}[2J${ESCAPE}[1;1H`, '\ufffd[2J\ufffd[1;1H'],
  ['a\r\nb\tc\u007f', 'a\ufffd\nb\tc\ufffd'],
])('%j has no control characters, with and without colours', (text, shown) => {
  expect(printable(text, false)).toBe(shown)
  expect(printable(text, true)).toBe(shown)
})

test('colours stay where they are wanted', () => {
  const text = `${ESCAPE}[1;31mred${ESCAPE}[0m\n`
  expect(printable(text, true)).toBe(text)
  expect(printable(text, false)).toBe('\ufffd[1;31mred\ufffd[0m\n')
})

test('JSON of any text is printed as it is, and is read as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (name) => {
      const text = jsonDocument({ name })
      expect(printable(text, false)).toBe(text)
      expect(JSON.parse(text).name).toBe(name)
    }),
    { numRuns: usually(200, { thoroughly: 5000 }) },
  )
})
