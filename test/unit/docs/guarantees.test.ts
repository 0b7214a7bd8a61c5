// docs/guarantees.md names tests: each file exists, and has a test or a group of that title.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')
const PAGE = readFileSync(join(ROOT, 'docs/guarantees.md'), 'utf8')

/** Files of tests, each with the titles behind its name. */
const NAMED = [...PAGE.matchAll(/`(test\/[^`]+)`: ((?:"[^"]+"(?:, )?)+)/g)].map(([, file = '', titles = '']) => ({
  file,
  titles: [...titles.matchAll(/"([^"]+)"/g)].map(([, title = '']) => title),
}))

/** Rows of the tables of promises. */
const ROWS = PAGE.split('\n\n')
  .filter((part) => part.startsWith('| Promise |'))
  .flatMap((table) => table.trim().split('\n').slice(2))

test.each(NAMED)('$file has the tests that the page names', ({ file, titles }) => {
  const path = join(ROOT, file)
  expect(existsSync(path), `${file} exists`).toBe(true)
  const source = readFileSync(path, 'utf8')
  const isTitle = (title: string): boolean => ["'", '`'].some((mark) => source.includes(`${mark}${title}${mark}`))
  expect(titles.filter((title) => !isTitle(title))).toEqual([])
})

test('every promise has a test', () => {
  expect(ROWS.length).toBeGreaterThan(30)
  expect(ROWS.filter((row) => !/`test\/[^`]+`: "/.test(row))).toEqual([])
})
