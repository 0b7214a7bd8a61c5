// Which processors the interrupts of a device reach. Pure: texts of the kernel in, judgement out.

/** An interrupt of a device: its number, its name in /proc/interrupts, and the processors that it may reach. */
export interface Interrupt {
  readonly irq: number
  readonly name: string
  readonly processors: readonly number[]
}

/** `0-3,8` → 0, 1, 2, 3, 8; empty for any other text. */
export function parseCpuList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .flatMap((part) => {
      const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? []
      if (from === undefined) return []
      const [first, last] = [Number(from), Number(to)]
      return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i)
    })
}

/** `/proc/interrupts` → the name of each numbered interrupt, which is its last word. */
export function parseInterruptNames(text: string): Map<number, string> {
  const lines = [...text.matchAll(/^\s*(\d+):.*?(\S+)\s*$/gm)]
  return new Map(lines.map(([, irq, name = '']) => [Number(irq), name]))
}

/** Interrupts of a card besides those of queues: for its settings, its commands, its link. */
const OTHER =
  /(?:^|[-_@:.])(?:config|control|async|mgmt|mgmnt|cmd|pages|aeq|misc|link|lsc|exn|fdir|oicr|event|health|mailbox|output|tx)\d*(?:$|[@:.]|-\d+$)/i

/** Those that announce received packets, by their names. */
export const ofReceiving = (interrupts: readonly Interrupt[]): Interrupt[] =>
  interrupts.filter(({ name }) => !OTHER.test(name))

export interface SpreadProblem {
  readonly why: string
  readonly fix: string
}

/** Shell that gives interrupts to processors in turn. */
const inTurn = (interrupts: readonly Interrupt[], processors: readonly number[]): string =>
  interrupts
    .map(({ irq }, i) => `echo ${processors[i % processors.length]} > /proc/irq/${irq}/smp_affinity_list`)
    .join('; ')

const listOf = (processors: readonly number[]): string =>
  `${processors.length === 1 ? 'processor' : 'processors'} ${processors.join(', ')}`

/**
 * Reports that the interrupts of several queues reach few of the processors.
 *
 * @param online processors that run
 */
export function spreadProblem(interrupts: readonly Interrupt[], online: readonly number[]): SpreadProblem | undefined {
  const queues = ofReceiving(interrupts).filter(({ processors }) => processors.length > 0)
  const reached = [...new Set(queues.flatMap(({ processors }) => processors))].sort((left, right) => left - right)
  const possible = Math.min(queues.length, online.length)
  if (queues.length < 2 || reached.length >= possible) return undefined
  const why = `the interrupts of ${queues.length} receive queues reach only ${listOf(reached)} of ${online.length}`
  return { why, fix: inTurn(queues, online) }
}
