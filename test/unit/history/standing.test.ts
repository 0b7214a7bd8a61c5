// The policy that should be in force, by the history.

import { describe, expect, test } from 'vitest'
import { entryBefore, heldOver, inForce, isRepetition, rollbackInForce } from '../../../src/history/standing.ts'
import type { HistoryEntry } from '../../../src/report/history.ts'
import { digestOf, entry } from '../../support/history.ts'

/** Entries newest first from texts of configs, oldest first. */
const history = (...texts: (readonly [text: string, rest?: Partial<HistoryEntry>])[]): HistoryEntry[] =>
  texts.map(([text, rest], i) => entry(i + 1, text, rest)).reverse()

const REVERTED = { result: 'reverted', confirmation: 'x' } as const
const back = (restores: number, ...files: string[]): Partial<HistoryEntry> => ({
  action: 'rollback',
  restores,
  overrules: { path: '/etc/xdp/xdp.yaml', sha256: files.map(digestOf) },
})

/** `why by` for the file with this text; undefined: the file decides. */
function held(entries: readonly HistoryEntry[], text: string): string | undefined {
  const found = heldOver(entries, digestOf(text))
  return found && `${found.why} ${found.by?.number}`
}

describe('the file decides', () => {
  test('without a history, after applies, and after what had no effect', () => {
    expect(held([], 'a')).toBeUndefined()
    expect(held(history(['a'], ['b']), 'a')).toBeUndefined()
    expect(held(history(['a'], ['b', { result: 'confirmed' }]), 'b')).toBeUndefined()
    for (const result of ['failed', 'interrupted', 'running'] as const)
      expect(held(history(['a'], ['b', { result }]), 'b')).toBeUndefined()
  })

  test('while a confirmation is pending, and once it has changed', () => {
    expect(held(history(['a'], ['b', { result: 'pending' }]), 'b')).toBeUndefined()
    expect(held(history(['a'], ['b', REVERTED]), 'c')).toBeUndefined()
    expect(held(history(['a'], ['b'], ['a', back(1, 'b')]), 'c')).toBeUndefined()
  })

  test('after an apply of the file of a rollback', () => {
    expect(held(history(['a'], ['b'], ['a', back(1, 'b')], ['b']), 'b')).toBeUndefined()
  })
})

describe('another policy holds', () => {
  test('over an unconfirmed config: the last accepted one, whatever came in between', () => {
    expect(held(history(['a'], ['b', REVERTED]), 'b')).toBe('unconfirmed 1')
    expect(held(history(['a', { result: 'confirmed' }], ['x', REVERTED], ['b', REVERTED]), 'b')).toBe('unconfirmed 1')
    expect(held(history(['a'], ['b', REVERTED], ['c', { result: 'interrupted' }]), 'b')).toBe('unconfirmed 1')
    expect(held(history(['b', REVERTED]), 'b')).toBe('unconfirmed undefined')
  })

  test('over a file as it was at a rollback, also while that waits for its confirmation', () => {
    expect(held(history(['a'], ['b'], ['a', back(1, 'b')]), 'b')).toBe('rolled-back 3')
    expect(held(history(['a'], ['b'], ['a', { ...back(1, 'b', 'c'), result: 'pending' }]), 'c')).toBe('rolled-back 3')
  })

  test('as before a rollback that was not confirmed', () => {
    const reverted = { ...back(1, 'b'), ...REVERTED }
    expect(held(history(['a'], ['b'], ['a', reverted]), 'b')).toBeUndefined()
    expect(held(history(['a'], ['b'], ['a', back(1, 'b')], ['c', { ...back(0, 'b'), ...REVERTED }]), 'b')).toBe(
      'rolled-back 3',
    )
  })

  test('over an unconfirmed config after a rollback: the policy of that', () => {
    expect(held(history(['a'], ['b'], ['a', back(1, 'b')], ['c', REVERTED]), 'c')).toBe('unconfirmed 3')
  })
})

test('a rollback without a number takes the last accepted policy that differs from the one in force', () => {
  const before = (...texts: Parameters<typeof history>): number | undefined => entryBefore(history(...texts))?.number
  expect(before()).toBeUndefined()
  expect(before(['a'])).toBeUndefined()
  expect(before(['a'], ['b'])).toBe(1)
  expect(before(['a'], ['b'], ['b'])).toBe(1)
  expect(before(['a'], ['b', REVERTED], ['c'])).toBe(1)
  expect(before(['a'], ['b'], ['c', REVERTED])).toBe(1)
  expect(before(['a'], ['b'], ['c', { result: 'pending' }])).toBe(2)
  expect(before(['a'], ['b'], ['a', back(1, 'b')])).toBe(2)
  expect(inForce(history(['a'], ['b', REVERTED]))?.number).toBe(1)
  expect(rollbackInForce(history(['a'], ['b'], ['a', back(1, 'b')]))?.number).toBe(3)
  expect(rollbackInForce(history(['a'], ['b'], ['a', back(1, 'b')], ['c']))).toBeUndefined()
})

test('an apply repeats the one in force if it is of that config, with the content of its feeds', () => {
  const repeats = (text: string, ...texts: Parameters<typeof history>): boolean =>
    isRepetition(history(...texts), digestOf(text))
  expect(repeats('a')).toBe(false)
  expect(repeats('a', ['a'])).toBe(true)
  expect(repeats('a', ['a'], ['b', REVERTED])).toBe(true)
  expect(repeats('b', ['a'], ['b', REVERTED])).toBe(false)
  expect(repeats('a', ['a'], ['b'])).toBe(false)
  expect(repeats('a', ['a', { result: 'pending' }])).toBe(false)
  expect(repeats('a', ['a', { distrusted: ['feed'] }])).toBe(false)
})
