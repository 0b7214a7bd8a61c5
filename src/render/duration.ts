// Times for people, and as a config writes them.

import { MILLISECONDS } from '../model/duration.ts'

const UNITS = [
  ['w', MILLISECONDS.w],
  ['d', MILLISECONDS.d],
  ['h', MILLISECONDS.h],
  ['min', MILLISECONDS.m],
  ['s', MILLISECONDS.s],
] as const

/** Milliseconds in the two largest units that fit: `1 h 12 min`, `59 s`, never `0 s`. */
export function formatDuration(milliseconds: number): string {
  let left = Math.max(1000, Math.ceil(milliseconds / 1000) * 1000)
  const parts: string[] = []
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size)
    if (count > 0) parts.push(`${count} ${unit}`)
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break
    left -= count * size
  }
  return parts.join(' ')
}

/** Seconds as a config writes them, in the largest unit up to days that is exact: `5m`, `90s`. */
export function formatSeconds(seconds: number): string {
  const time = seconds * MILLISECONDS.s
  const unit = (['d', 'h', 'm'] as const).find((one) => time > 0 && time % MILLISECONDS[one] === 0) ?? 's'
  return `${time / MILLISECONDS[unit]}${unit}`
}
