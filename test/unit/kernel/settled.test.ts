// Readings while an apply replaces the generation under them.

import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { pinPaths } from '../../../src/abi/paths.ts'
import { type Code, fail } from '../../../src/diagnostics.ts'
import { settled } from '../../../src/kernel/observe/settled.ts'

let directory: string
let generation = 1
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-settled-'))
  generation = 1
  mkdirSync(join(paths().generation(1)), { recursive: true })
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const paths = () => pinPaths(directory, 'lab')

/** Makes the next generation and removes the one before, as an apply does. */
function switchOver(): void {
  mkdirSync(paths().generation(generation + 1))
  rmSync(paths().generation(generation), { recursive: true })
  generation++
}

/** A reading that is disturbed by `switches` applies in a row; returns the generation at its end. */
function reader(switches: number, failure?: Code) {
  let reads = 0
  return {
    read: async (): Promise<number> => {
      const seen = generation
      if (reads++ < switches) {
        switchOver()
        if (failure) throw fail(failure, 'disturbed')
      }
      return seen
    },
    reads: () => reads,
  }
}

test('an undisturbed reading is made once', async () => {
  const { read, reads } = reader(0)
  expect(await settled(paths(), read)).toBe(1)
  expect(reads()).toBe(1)
})

test.each([1, 5, 9])('an answer under which %i applies switched is read again', async (switches) => {
  const { read, reads } = reader(switches)
  expect(await settled(paths(), read)).toBe(switches + 1)
  expect(reads()).toBe(switches + 1)
})

test.each<Code>(['E101', 'E108', 'E113', 'E114', 'E116'])('%s under a switch is no error', async (code) => {
  const { read, reads } = reader(1, code)
  expect(await settled(paths(), read)).toBe(2)
  expect(reads()).toBe(2)
})

test('an error that no apply explains is thrown at once', async () => {
  let reads = 0
  const read = async (): Promise<never> => {
    reads++
    throw fail('E116', 'nothing is applied')
  }
  await expect(settled(paths(), read)).rejects.toThrow('nothing is applied')
  expect(reads).toBe(1)
})

test('an interrupt ends a reading that is disturbed', async () => {
  const { read, reads } = reader(1, 'E112')
  await expect(settled(paths(), read)).rejects.toThrow('disturbed')
  expect(reads()).toBe(1)
})

test('gives up on errors under applies without end', async () => {
  const { read, reads } = reader(Number.POSITIVE_INFINITY, 'E113')
  await expect(settled(paths(), read)).rejects.toThrow('disturbed')
  expect(reads()).toBe(10)
})

test('a generation made again under its number counts as another', async () => {
  let reads = 0
  const read = async (): Promise<number> => {
    if (reads++ === 0) {
      // Made before the old one goes, so that the inode differs on every file system.
      const other = join(directory, 'other')
      mkdirSync(other)
      rmSync(paths().generation(1), { recursive: true })
      renameSync(other, paths().generation(1))
    }
    return reads
  }
  expect(await settled(paths(), read)).toBe(2)
})

test('a generation that the caller is building does not count', async () => {
  let reads = 0
  const read = async (): Promise<number> => {
    mkdirSync(paths().generation(2), { recursive: true })
    return ++reads
  }
  expect(await settled(paths(), read, { staged: 2 })).toBe(1)
})
