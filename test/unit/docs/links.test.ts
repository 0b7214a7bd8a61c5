// Links and anchors of every page: what they name is there, on a forge and in the site alike.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'
import { anchorsOf, contents, linksOf, slugOf } from '../../../scripts/lib/site.mjs'

const ROOT = join(import.meta.dirname, '../../..')

const pagesBelow = (directory: string): string[] =>
  (readdirSync(join(ROOT, directory), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(directory, name))
    .sort()

const PAGES = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...pagesBelow('docs'),
  ...pagesBelow('examples'),
]
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

test.each(PAGES)('%s: every link leads to a file, and every anchor to a heading', (path) => {
  const broken = linksOf(read(path)).filter(([target = '', anchor = '']) => {
    const file = target === '' ? path : join(dirname(path), target)
    if (relative(ROOT, join(ROOT, file)).startsWith('..') || !existsSync(join(ROOT, file))) return true
    return anchor !== '' && (statSync(join(ROOT, file)).isDirectory() || !anchorsOf(read(file)).includes(anchor))
  })
  expect(broken.map((link) => link.filter((part: string) => part !== '').join('#'))).toEqual([])
})

test('the index has every page of docs in one of four groups, once', () => {
  const groups = contents()
  expect(groups.map(({ text }) => text)).toEqual(['Tutorial', 'How-to', 'Reference', 'Explanation'])
  const listed = groups.flatMap(({ items }) => items.map(({ link }) => link))
  const pages = pagesBelow('docs').filter((path) => !path.startsWith('docs/adr/') && path !== 'docs/index.md')
  const others = ['/docs/adr/index', '/examples/index']
  expect([...listed].sort()).toEqual([...pages.map((path) => `/${path.replace(/\.md$/, '')}`), ...others].sort())
})

test('anchors are those of forges', () => {
  expect(slugOf('`xdp plan`: what, and "why"?')).toBe('xdp-plan-what-and-why')
  expect(slugOf('4. Block a country')).toBe('4-block-a-country')
  expect(anchorsOf('# A\n## B\n```\n# C\n```\n## B\n')).toEqual(['a', 'b', 'b-1'])
})
