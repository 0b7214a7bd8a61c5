// A headless Chromium, driven over a pipe by its DevTools protocol: the one of the PATH, or else Debian's, unpacked.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { unpacked } from './debian.ts'

export type Scheme = 'light' | 'dark'

export interface View {
  readonly width: number
  readonly height: number
  readonly scheme: Scheme
}

interface Reply {
  readonly id?: number
  readonly method?: string
  readonly sessionId?: string
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

/** The program, and where its libraries and fonts are, or why there is none. */
function find(): { readonly path: string; readonly root?: string } | { readonly reason: string } {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, 'chromium')
    if (existsSync(path)) return { path }
  }
  const found = unpacked('chromium', 'fonts-dejavu-core')
  return 'reason' in found ? found : { path: join(found.root, 'usr/lib/chromium/chromium'), root: found.root }
}

/** Directories below `root` with shared libraries. */
function libraries(root: string): string[] {
  const paths = readdirSync(join(root, 'usr/lib'), { recursive: true }) as string[]
  const holders = paths.filter((path) => /\.so(?:\.|$)/.test(path)).map((path) => join(root, 'usr/lib', dirname(path)))
  return [...new Set(holders)]
}

const FONTS = (root: string): string => `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>/usr/share/fonts</dir><dir>${root}/usr/share/fonts</dir>
${['monospace', 'ui-monospace', 'sans-serif', 'system-ui']
  .map((family) => {
    const font = family.endsWith('monospace') ? 'DejaVu Sans Mono' : 'DejaVu Sans'
    return `<alias><family>${family}</family><prefer><family>${font}</family></prefer></alias>`
  })
  .join('\n')}
</fontconfig>`

export class Chromium {
  readonly #child: ChildProcess
  readonly #profile: string
  readonly #replies = new Map<number, (reply: Reply) => void>()
  readonly #events = new Set<(reply: Reply) => void>()
  #next = 0
  #rest = ''

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child
    this.#profile = profile
    const answers = child.stdio[4] as Readable
    answers.setEncoding('utf8').on('data', (text: string) => this.#read(text))
  }

  /** Starts it, or returns why that is not possible here. */
  static async start(): Promise<Chromium | string> {
    const found = find()
    if ('reason' in found) return found.reason
    const profile = mkdtempSync(join(tmpdir(), 'xdp-chromium-'))
    const env: NodeJS.ProcessEnv = { ...process.env, HOME: profile }
    if (found.root !== undefined) {
      env['LD_LIBRARY_PATH'] = libraries(found.root).join(':')
      env['FONTCONFIG_FILE'] = join(profile, 'fonts.conf')
      writeFileSync(join(profile, 'fonts.conf'), FONTS(found.root))
    }
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--hide-scrollbars']
    const argv = [...flags, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank']
    const child = spawn(found.path, argv, { env, stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
    const chromium = new Chromium(child, profile)
    const ended = once(child, 'close').then(() => 'Chromium ends at once here')
    const reason = await Promise.race([ended, chromium.#send('Browser.getVersion').then(() => undefined)])
    return reason ?? chromium
  }

  #read(text: string): void {
    const parts = (this.#rest + text).split('\0')
    this.#rest = parts.pop() ?? ''
    for (const part of parts) {
      const reply = JSON.parse(part) as Reply
      if (reply.id === undefined) for (const listener of this.#events) listener(reply)
      else this.#replies.get(reply.id)?.(reply)
    }
  }

  #send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.#next
    const commands = this.#child.stdio[3] as Writable
    return new Promise((done, fail) => {
      this.#replies.set(id, ({ result, error }) => {
        this.#replies.delete(id)
        if (error) fail(new Error(`${method}: ${error.message}`))
        else done(result ?? {})
      })
      commands.write(`${JSON.stringify({ id, method, params, ...(sessionId ? { sessionId } : {}) })}\0`)
    })
  }

  /** Opens `url`, runs `body` with the page, and closes it. */
  async visit<T>(url: string, view: View, body: (page: Page) => Promise<T>): Promise<T> {
    return this.browse(view, async (page) => {
      await page.open(url)
      return body(page)
    })
  }

  /** Runs `body` with a tab, and closes it. */
  async browse<T>(view: View, body: (page: Page) => Promise<T>): Promise<T> {
    const { targetId } = await this.#send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.#send('Target.attachToTarget', { targetId, flatten: true })
    const send = (method: string, params?: object) => this.#send(method, params, sessionId as string)
    const { width, height, scheme } = view
    try {
      await send('Page.enable')
      await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
      await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
      return await body({
        open: async (url) => {
          const loaded = this.#event('Page.loadEventFired', sessionId as string)
          await send('Page.navigate', { url })
          await loaded
        },
        evaluate: async <R>(expression: string) => {
          const answer = await send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })
          if (answer['exceptionDetails']) throw new Error(JSON.stringify(answer['exceptionDetails']))
          return (answer['result'] as { readonly value: R }).value
        },
        shoot: async (path, whole = false) => {
          const { data } = await send('Page.captureScreenshot', { captureBeyondViewport: whole })
          writeFileSync(path, Buffer.from(data as string, 'base64'))
        },
      })
    } finally {
      await this.#send('Target.closeTarget', { targetId })
    }
  }

  #event(method: string, sessionId: string): Promise<void> {
    return new Promise((done) => {
      const listener = (reply: Reply): void => {
        if (reply.method !== method || reply.sessionId !== sessionId) return
        this.#events.delete(listener)
        done()
      }
      this.#events.add(listener)
    })
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'close')
    // Its children end with it.
    await Promise.race([this.#send('Browser.close'), ended])
    await ended
    rmSync(this.#profile, { recursive: true, force: true })
  }
}

export interface Page {
  /** Loads an address. */
  readonly open: (url: string) => Promise<void>
  /** The value of an expression of JavaScript. */
  readonly evaluate: <R>(expression: string) => Promise<R>
  /** Writes a PNG of the viewport, or of the `whole` page. */
  readonly shoot: (path: string, whole?: boolean) => Promise<void>
}
