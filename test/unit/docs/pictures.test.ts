// Checks of pictures that need no renderer; test/docs/pictures.test.ts renders them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { shownBy, toSvg } from '../../../scripts/lib/svg.mjs'

const DOCS = join(import.meta.dirname, '../../../docs')
const PICTURES = readdirSync(DOCS).filter((name) => name.endsWith('.svg'))

test.each(PICTURES)('%s has no text that a renderer could collapse or stretch, and colours for dark pages', (name) => {
  const svg = readFileSync(join(DOCS, name), 'utf8')
  expect(svg).not.toContain('textLength')
  expect([...svg.matchAll(/<text[^>]*>([^<]*)</g)].filter(([, words = '']) => /^ | {2}| $/.test(words))).toEqual([])
  expect(svg).toContain('prefers-color-scheme:dark')
  expect(svg).toMatch(/<title[^>]*>[^<]+</)
})

test('a picture of a terminal shows each character in its column', () => {
  const red = '\x1b[31mdrop\x1b[0m'
  const text = `live   ${red}     blocklist: 1.2.3.4\n\n   + <b> & c     \x1b[1mbold\x1b[22m  x`
  const svg = toSvg(text, { columns: 60, title: 'a < b' })
  expect(shownBy(svg)).toEqual(['live   drop     blocklist: 1.2.3.4', '', '   + <b> & c     bold  x'])
  expect(svg).toContain('class="c1">drop</text>')
  expect(svg).toContain('class="b">bold</text>')
  expect(svg).toContain('<title id="t">a &lt; b</title>')
})

test('a colour that no theme has is refused', () => {
  expect(() => toSvg('\x1b[38;2;1;2;3mx', { columns: 10, title: '' })).toThrow('colour')
})
