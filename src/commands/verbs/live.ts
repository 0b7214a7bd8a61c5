// The loop of the live view: look, draw, wait for the time, a key or the end.

import { XdpError } from '../../diagnostics.ts'
import type { Frame } from '../../render/live.ts'
import type { Stats } from '../../report/stats.ts'
import type { Screen } from '../cli/screen.ts'

/** What a frame shows beside the screen's own size. */
type Shown = Omit<Frame, 'columns' | 'rows'>

export interface Live {
  readonly screen: Screen
  readonly read: () => Promise<Stats>
  readonly render: (frame: Frame) => readonly string[]
  readonly intervalMs: number
  /** Fields of the frame that stay. */
  readonly about: Pick<Frame, 'instance' | 'interval' | 'color'>
  readonly signal: AbortSignal | undefined
}

/** q as everywhere; ^C, which is no signal while keys are ours. */
const QUIT = ['q', 'Q', '\u0003']

const messageOf = ({ diagnostics }: XdpError): string =>
  diagnostics.map(({ code, message }) => `${code} ${message}`).join('; ')

/**
 * Shows rates until somebody quits or `signal` says so; the terminal is then as it was. A look that fails is told on
 * the screen and tried again, but the first one throws: then there is nothing to show.
 */
export async function watchLive({ screen, read, render, intervalMs, about, signal }: Live): Promise<void> {
  let at = performance.now()
  let shown: Shown = { ...about, stats: await read(), previous: undefined, seconds: 0, error: undefined }
  const { promise: ended, resolve: end } = deferred()
  // At once, whatever is being waited for: a second signal ends the process where it stands.
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

/** True after `milliseconds`, false as soon as `ended` is. */
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
