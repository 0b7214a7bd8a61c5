// Every page of the built site (`npm run docs`), at the width of a phone and of a desk: it shows its text, and nothing is wider than
// the window.

import { createReadStream, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Chromium } from '../support/chromium.ts'

const ROOT = join(import.meta.dirname, '../..')
const SITE = join(ROOT, 'build/site')
const SHOTS = join(ROOT, 'build/test/site')
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
}

const VIEWS = [
  { name: 'phone', width: 390, height: 844, scheme: 'dark' },
  { name: 'desk', width: 1280, height: 900, scheme: 'light' },
] as const

const pages = (): string[] =>
  (readdirSync(SITE, { recursive: true }) as string[]).filter((name) => name.endsWith('.html') && name !== '404.html')

let chromium: Chromium | string = 'not started'
let server: Server

beforeAll(async () => {
  if (!existsSync(SITE)) throw new Error('there is no site: npm run docs')
  mkdirSync(SHOTS, { recursive: true })
  server = createServer((question, answer) => {
    const path = join(SITE, decodeURIComponent(new URL(question.url ?? '/', 'http://site').pathname))
    const file = existsSync(path) && statSync(path).isDirectory() ? join(path, 'index.html') : path
    if (!file.startsWith(SITE) || !existsSync(file)) return answer.writeHead(404).end()
    answer.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' })
    return createReadStream(file).pipe(answer)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  chromium = await Chromium.start()
})
afterAll(async () => {
  if (typeof chromium !== 'string') await chromium.close()
  server.close()
})

interface Seen {
  readonly title: string
  readonly characters: number
  readonly width: number
  /** Elements that reach beyond the window and are in no box that scrolls. */
  readonly wide: readonly string[]
  readonly brokenPictures: readonly string[]
}

const LOOK = `(() => {
  const scrolls = (one) => one !== null && one !== document.body &&
    (['auto', 'scroll', 'hidden'].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement))
  const main = document.querySelector('main') ?? document.body
  const wide = [...main.querySelectorAll('*')].filter((one) => {
    const box = one.getBoundingClientRect()
    return box.width > 0 && box.right > innerWidth + 1 && !scrolls(one.parentElement)
  })
  return {
    title: document.querySelector('h1')?.textContent ?? '',
    characters: main.innerText.length,
    width: document.documentElement.scrollWidth,
    wide: wide.slice(0, 3).map((one) => one.tagName + ' ' + one.textContent.slice(0, 60)),
    brokenPictures: [...document.images].filter((one) => !one.naturalWidth).map((one) => one.src),
  }
})()`

test.for(VIEWS)('no page is wider than the window of a $name', async (view, context) => {
  if (typeof chromium === 'string') return context.skip(chromium)
  const { port } = server.address() as AddressInfo
  const names = pages()
  expect(names.length).toBeGreaterThan(80)
  await chromium.browse(view, async (page) => {
    for (const name of names) {
      await page.open(`http://127.0.0.1:${port}/${name}`)
      // Decisions and files of examples look alike.
      if (!/^(?:docs\/adr|schemas|examples)\//.test(name))
        await page.shoot(join(SHOTS, `${name.replaceAll('/', '-').replace('.html', '')}-${view.name}.png`))
      const seen = await page.evaluate<Seen>(LOOK)
      expect.soft(seen.title, name).not.toBe('')
      expect.soft(seen.characters, name).toBeGreaterThan(20)
      expect.soft(seen.width, `${name} scrolls sideways`).toBeLessThanOrEqual(view.width)
      expect.soft(seen.wide, name).toEqual([])
      expect.soft(seen.brokenPictures, name).toEqual([])
    }
  })
})

test('the search finds a page without a server', () => {
  const index = (readdirSync(join(SITE, 'assets'), { recursive: true }) as string[]).find((name) =>
    /localSearchIndex/.test(name),
  )
  expect(index).toBeDefined()
})
