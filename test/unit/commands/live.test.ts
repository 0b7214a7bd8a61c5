// The loop of the live view and its terminal, with fake streams.
import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import { createScreen, type Screen } from '../../../src/commands/cli/screen.ts'
import { type Live, watchLive } from '../../../src/commands/verbs/live.ts'
import { fail } from '../../../src/diagnostics.ts'
import type { Frame } from '../../../src/render/live-section.ts'
import type { Stats } from '../../../src/report/stats.ts'
import { stats } from '../../support/stats.ts'

const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'

/** A terminal that records its output. */
function terminal({ isTTY = true } = {}) {
  const seen = { text: '', raw: false, suspended: 0, paused: false }
  const input = Object.assign(new EventEmitter(), {
    isTTY,
    setRawMode: (on: boolean) => {
      seen.raw = on
    },
    resume: () => {
      seen.paused = false
    },
    pause: () => {
      seen.paused = true
    },
  })
  const output = Object.assign(new EventEmitter(), {
    columns: 80,
    rows: 24,
    write: (text: string) => {
      seen.text += text
    },
  })
  let goOn = (): void => {}
  const screen = createScreen(input, output, {
    suspend: () => {
      seen.suspended++
    },
    onContinue: (listener) => {
      goOn = listener
    },
  })
  return {
    seen,
    screen,
    output,
    input,
    press: (keys: string) => input.emit('data', Buffer.from(keys)),
    goOn: () => goOn(),
  }
}

interface Watched {
  readonly read?: () => Promise<Stats>
  readonly screen: Screen
  readonly signal?: AbortSignal
  readonly frames?: Frame[]
}

function watch({ read = async () => stats(), screen, signal, frames = [] }: Watched): Promise<void> {
  const live: Live = {
    screen,
    read,
    render: (frame) => {
      frames.push(frame)
      return [`frame ${frames.length}`]
    },
    intervalMs: 1,
    about: { instance: 'default', interval: '1ms', color: false },
    signal,
  }
  return watchLive(live)
}

describe('the loop', () => {
  test.each(['q', 'Q', '\u0003', 'xyzq'])(
    'shows frame after frame until %j, and gives the terminal back',
    async (keys) => {
      const { screen, press, seen } = terminal()
      const frames: Frame[] = []
      const ended = watch({ screen, frames })
      await expect.poll(() => frames.length).toBeGreaterThan(2)
      press(keys)
      await ended
      expect(seen.text.startsWith(ENTER)).toBe(true)
      expect(seen.text.endsWith(LEAVE)).toBe(true)
      expect(seen).toMatchObject({ raw: false, paused: true })
      const [first, second] = frames
      expect(first).toMatchObject({ previous: undefined, columns: 80, rows: 24 })
      expect(second?.previous).toBe(first?.stats)
      expect(second?.seconds).toBeGreaterThan(0)
    },
  )

  test('restores the terminal at once, even during a hanging reading', async () => {
    const { screen, press, seen } = terminal()
    let looks = 0
    let finish = (): void => {}
    const read = async (): Promise<Stats> => {
      if (++looks > 1)
        await new Promise<void>((resolve) => {
          finish = resolve
        })
      return stats()
    }
    const ended = watch({ screen, read })
    await expect.poll(() => looks).toBe(2)
    press('q')
    expect(seen.text.endsWith(LEAVE)).toBe(true)
    finish()
    await ended
    expect(seen.text.endsWith(LEAVE)).toBe(true)
  })

  test('ends with the signal, also with one from before', async () => {
    for (const early of [true, false]) {
      const { screen, seen } = terminal()
      const interruption = new AbortController()
      if (early) interruption.abort()
      const ended = watch({ screen, signal: interruption.signal })
      if (!early) {
        await expect.poll(() => seen.text).toContain('frame 2')
        interruption.abort()
        expect(seen.text.endsWith(LEAVE)).toBe(true)
      }
      await ended
      expect(seen.text.endsWith(LEAVE)).toBe(true)
    }
  })

  test('shows a failed reading, goes on, and computes rates from the last good one', async () => {
    const { screen, press } = terminal()
    const frames: Frame[] = []
    let looks = 0
    const read = async (): Promise<Stats> => {
      if (++looks === 2) throw fail('E101', 'bpftool failed')
      return stats({ generation: looks })
    }
    const ended = watch({ screen, read, frames })
    await expect.poll(() => frames.length).toBeGreaterThanOrEqual(3)
    press('q')
    await ended
    const [first, failed, third] = frames
    expect(failed).toMatchObject({ error: 'E101 bpftool failed', stats: first?.stats })
    expect(third).toMatchObject({ error: undefined, previous: first?.stats, stats: { generation: 3 } })
  })

  test('throws the error of the first reading, before it touches the terminal', async () => {
    const { screen, seen } = terminal()
    const read = async (): Promise<Stats> => {
      throw fail('E104', 'needs root')
    }
    await expect(watch({ screen, read })).rejects.toThrow('E104')
    expect(seen.text).toBe('')
  })

  test('throws an unexpected error, with the terminal restored', async () => {
    const { screen, seen } = terminal()
    let looks = 0
    const read = async (): Promise<Stats> => {
      if (++looks > 1) throw new TypeError('a bug')
      return stats()
    }
    await expect(watch({ screen, read })).rejects.toThrow('a bug')
    expect(seen.text.endsWith(LEAVE)).toBe(true)
    expect(seen.raw).toBe(false)
  })
})

describe('the screen', () => {
  const open = (screen: Screen) => {
    const heard = { keys: '', redraws: 0 }
    screen.open({
      key: (key) => {
        heard.keys += key
      },
      redraw: () => {
        heard.redraws++
      },
    })
    return heard
  }

  test('draws from the top, each line to its end', () => {
    const { screen, seen } = terminal()
    open(screen)
    screen.draw(['one', 'two'])
    expect(seen.text).toBe(`${ENTER}\u001b[Hone\u001b[K\r\ntwo\u001b[K\u001b[J`)
  })

  test('closes once, and draws nothing afterwards', () => {
    const { screen, seen } = terminal()
    open(screen)
    screen.close()
    screen.close()
    screen.draw(['late'])
    expect(seen.text).toBe(`${ENTER}${LEAVE}`)
  })

  test('writes nothing unless it was opened', () => {
    const { screen, seen } = terminal()
    screen.close()
    expect(seen).toEqual({ text: '', raw: false, suspended: 0, paused: false })
  })

  test('reports a new size', () => {
    const { screen, output } = terminal()
    const heard = open(screen)
    output.columns = 40
    output.emit('resize')
    expect(heard.redraws).toBe(1)
    expect(screen.size()).toEqual({ columns: 40, rows: 24 })
    screen.close()
    output.emit('resize')
    expect(heard.redraws).toBe(1)
  })

  test('restores the terminal for ^Z, and enters it again afterwards', () => {
    const { screen, seen, press, goOn } = terminal()
    const heard = open(screen)
    press('\u001a')
    expect(seen).toMatchObject({ text: `${ENTER}${LEAVE}`, suspended: 1, raw: false })
    goOn()
    expect(seen).toMatchObject({ text: `${ENTER}${LEAVE}${ENTER}`, raw: true })
    expect(heard).toEqual({ keys: '', redraws: 1 })
    screen.close()
    goOn()
    expect(seen.text).toBe(`${ENTER}${LEAVE}${ENTER}${LEAVE}`)
  })

  test('enters the terminal again after SIGSTOP', () => {
    const { screen, seen, goOn } = terminal()
    const heard = open(screen)
    seen.raw = false
    goOn()
    expect(seen).toMatchObject({ text: `${ENTER}${ENTER}`, raw: true })
    expect(heard.redraws).toBe(1)
    screen.close()
    expect(seen).toMatchObject({ text: `${ENTER}${ENTER}${LEAVE}`, raw: false })
  })

  test('works without a keyboard', () => {
    const { screen, seen, input } = terminal({ isTTY: false })
    open(screen)
    expect(input.listenerCount('data')).toBe(0)
    expect(seen.raw).toBe(false)
    screen.close()
    expect(seen.text).toBe(`${ENTER}${LEAVE}`)
  })

  test('has the size of a VT100 if the terminal reports none', () => {
    const { screen, output } = terminal()
    Object.assign(output, { columns: undefined, rows: 0 })
    expect(screen.size()).toEqual({ columns: 80, rows: 24 })
  })
})
