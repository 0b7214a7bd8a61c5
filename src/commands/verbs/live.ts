// The loop of the live view: reads counters, draws, then waits for the interval, a key or the end.

import { XdpError } from '../../diagnostics.ts'
import type { Frame } from '../../render/live-section.ts'
import type { Stats } from '../../report/stats.ts'
import type { Screen } from '../cli/screen.ts'

/** The contents of a frame without the screen size. */
type Shown = Omit<Frame, 'columns' | 'rows'>

export interface Live {
  readonly screen: Screen
  readonly read: () => Promise<Stats>
  readonly render: (frame: Frame) => readonly string[]
  readonly intervalMs: number
  /** The constant fields of the frame. */
  readonly about: Pick<Frame, 'instance' | 'interval' | 'color'>
  readonly signal: AbortSignal | undefined
}

/** ^C is a key here, because raw mode makes no signal of it. */
const QUIT = ['q', 'Q', '\u0003']

const messageOf = ({ diagnostics }: XdpError): string =>
  diagnostics.map(({ code, message }) => `${code} ${message}`).join('; ')

/**
 * Shows rates until the user quits or `signal` aborts, then restores the terminal. Shows a failed reading on the screen
 * and retries; throws only if the first reading fails, because there is nothing to show.
 */
export async function watchLive({ screen, read, render, intervalMs, about, signal }: Live): Promise<void> {
  let at = performance.now()
  let shown: Shown = { ...about, stats: await read(), previous: undefined, seconds: 0, error: undefined }
  const { promise: ended, resolve: end } = deferred()
  // Restores the terminal at once, even during a reading: a second signal would end the process without that.
  const quit = (): void => {
    screen.close()
    end()
  }
  const draw = (): void => screen.draw(render({ ...shown, ...screen.size() }))
  signal?.addEventListener('abort', quit)
  try {
    screen.open({ key: (key) => (QUIT.includes(key) ? quit() : undefined), redraw: draw })
    if (signal?.aborted) quit()
    draw()
    for (let tick = at; await isTime(tick + intervalMs - performance.now(), ended); ) {
      tick = performance.now()
      try {
        shown = { ...shown, stats: await read(), previous: shown.stats, seconds: (tick - at) / 1000, error: undefined }
        at = tick
      } catch (error) {
        if (!(error instanceof XdpError)) throw error
        shown = { ...shown, error: messageOf(error) }
      }
      draw()
    }
  } finally {
    signal?.removeEventListener('abort', quit)
    screen.close()
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** Resolves to true after `milliseconds`, to false when `ended` resolves. */
async function isTime(milliseconds: number, ended: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const time = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, milliseconds), true)
  })
  try {
    return await Promise.race([time, ended.then(() => false)])
  } finally {
    clearTimeout(timer)
  }
}
