// Every picture of the README and the docs, rendered by Chromium on a light and on a dark page.

import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Chromium, type Scheme } from '../support/chromium.ts'

const ROOT = join(import.meta.dirname, '../..')
const PICTURES = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.svg'))
const SCHEMES: readonly Scheme[] = ['light', 'dark']

/** Where to look at them. */
const SHOTS = join(ROOT, 'build/test/pictures')

let chromium: Chromium | string = 'not started'

beforeAll(async () => {
  mkdirSync(SHOTS, { recursive: true })
  chromium = await Chromium.start()
})
afterAll(async () => {
  if (typeof chromium !== 'string') await chromium.close()
})

interface Glyph {
  readonly character: string
  readonly left: number
  readonly right: number
  /** The x that the file asks for; absent where it gives a word one x alone. */
  readonly x?: number
}

interface Drawn {
  readonly width: number
  readonly height: number
  readonly texts: readonly {
    readonly words: string
    readonly box: { readonly left: number; readonly top: number; readonly right: number; readonly bottom: number }
    readonly fill: string
    readonly glyphs: readonly Glyph[]
  }[]
  /** The colour behind the text, if the picture brings one. */
  readonly ground: string | null
}

const MEASURE = `(() => {
  const root = document.documentElement
  const texts = [...root.querySelectorAll('text')].map((text) => {
    const box = text.getBoundingClientRect()
    const xs = (text.getAttribute('x') ?? '').split(' ').map(Number)
    const characters = [...text.textContent]
    const glyphs = characters.map((character, i) => ({
      character,
      left: text.getStartPositionOfChar(i).x,
      right: text.getEndPositionOfChar(i).x,
      ...(xs.length === characters.length && xs.length > 1 ? { x: xs[i] } : {}),
    }))
    return {
      words: text.textContent,
      box: { left: box.left, top: box.top, right: box.right, bottom: box.bottom },
      fill: getComputedStyle(text).fill,
      glyphs,
    }
  })
  const ground = root.querySelector(':scope > rect')
  return {
    width: root.width.baseVal.value,
    height: root.height.baseVal.value,
    texts,
    ground: ground === null ? null : getComputedStyle(ground).fill,
  }
})()`

async function drawn(browser: Chromium, name: string, scheme: Scheme): Promise<Drawn> {
  const url = `file://${join(ROOT, 'docs', name)}`
  return browser.visit(url, { width: 1280, height: 900, scheme }, async (page) => {
    await page.shoot(join(SHOTS, `${name.replace('.svg', '')}-${scheme}.png`))
    return page.evaluate<Drawn>(MEASURE)
  })
}

/** Pairs of texts that cover each other. */
function overlapping(texts: Drawn['texts']): string[] {
  const isOver = (a: Drawn['texts'][number]['box'], b: Drawn['texts'][number]['box']): boolean =>
    a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 4 && b.top < a.bottom - 4
  return texts.flatMap((one, i) =>
    texts
      .slice(i + 1)
      .filter((other) => isOver(one.box, other.box))
      .map((other) => `"${one.words}" and "${other.words}"`),
  )
}

/** Relative luminance of `rgb(r, g, b)`, by WCAG 2. */
function luminance(color: string): number {
  const [r = 0, g = 0, b = 0] = [...color.matchAll(/\d+/g)].map(([value]) => {
    const part = Number(value) / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
}

const PAGES: Readonly<Record<Scheme, string>> = { light: 'rgb(255, 255, 255)', dark: 'rgb(13, 17, 23)' }

describe.each(PICTURES)('docs/%s', (name) => {
  test.for(SCHEMES)('on a %s page: text is inside, legible, and in its columns', async (scheme, context) => {
    if (typeof chromium === 'string') return context.skip(chromium)
    const { width, height, texts, ground } = await drawn(chromium, name, scheme)
    expect(texts.length).toBeGreaterThan(10)
    expect.soft(overlapping(texts)).toEqual([])
    for (const { words, box, fill, glyphs } of texts) {
      const about = `"${words}"`
      expect.soft(box.left, about).toBeGreaterThanOrEqual(0)
      expect.soft(box.top, about).toBeGreaterThanOrEqual(0)
      expect.soft(box.right, about).toBeLessThanOrEqual(width)
      expect.soft(box.bottom, about).toBeLessThanOrEqual(height)
      expect.soft(contrast(fill, ground ?? PAGES[scheme]), `contrast of ${about}`).toBeGreaterThanOrEqual(4.5)
      for (const { character, left, x } of glyphs) {
        if (x !== undefined) expect.soft(left, `"${character}" of ${about}`).toBeCloseTo(x, 1)
      }
    }
  })
})

test('letters of the terminal neither overlap nor stand apart', async (context) => {
  if (typeof chromium === 'string') return context.skip(chromium)
  const { texts } = await drawn(chromium, 'demo.svg', 'light')
  for (const { words, glyphs } of texts) {
    glyphs.slice(1).forEach(({ left }, i) => {
      const gap = left - (glyphs[i]?.right ?? left)
      expect.soft(Math.abs(gap), `after letter ${i + 1} of "${words}"`).toBeLessThan(1)
    })
  }
})
