// The top of the README, laid out as forges do it: text of 16 px, code of 13.6 px, columns of 838 px.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { marked } from 'marked'
import { expect, test } from 'vitest'
import { Chromium } from '../support/chromium.ts'

const ROOT = join(import.meta.dirname, '../..')
const SHOTS = join(ROOT, 'build/test/pictures')

const STYLE = `body { width: 838px; margin: 16px auto; font: 16px/1.5 sans-serif; color-scheme: light dark }
h1 { font-size: 32px; line-height: 1.25; margin: 0 0 16px } p, pre { margin: 0 0 16px }
pre { padding: 16px; font: 13.6px/1.45 monospace; background: #80808020; overflow: auto } code { font: 13.6px monospace }
img { max-width: 100% }`

test('the README shows what it is, a picture, the installation, a config and its plan on one screen', async (context) => {
  const chromium = await Chromium.start()
  if (typeof chromium === 'string') return context.skip(chromium)
  try {
    mkdirSync(SHOTS, { recursive: true })
    const file = join(ROOT, 'build/test/readme.html')
    const body = marked.parse(readFileSync(join(ROOT, 'README.md'), 'utf8'), { async: false })
    writeFileSync(
      file,
      `<!doctype html><meta charset="utf-8"><base href="file://${ROOT}/"><style>${STYLE}</style>${body}`,
    )
    await chromium.visit(`file://${file}`, { width: 1280, height: 1440, scheme: 'light' }, async (page) => {
      await page.shoot(join(SHOTS, 'readme.png'))
      const blocks = await page.evaluate<{ tag: string; bottom: number }[]>(`
        [...document.querySelectorAll('h1, p, pre')].slice(0, 6).map((one) => ({
          tag: one.tagName + (one.querySelector('img') ? ' IMG' : ''),
          bottom: one.getBoundingClientRect().bottom,
        }))`)
      expect(blocks.map(({ tag }) => tag)).toEqual(['H1', 'P', 'P IMG', 'PRE', 'PRE', 'PRE'])
      // A screen of 1,440 lines, under the bars of a browser.
      expect(blocks.at(-1)?.bottom).toBeLessThan(1300)
    })
  } finally {
    await chromium.close()
  }
})
