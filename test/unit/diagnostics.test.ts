// Exceptions that no room explained, as errors.

import { readdirSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { unexpected, type XdpError } from '../../src/diagnostics.ts'

const thrownBy = async (body: () => unknown): Promise<XdpError> => {
  try {
    await body()
  } catch (error) {
    return unexpected(error)
  }
  throw new Error('nothing was thrown')
}

test('a refusal of the file system is E265 with its words and path, not a bug', async () => {
  const sync = await thrownBy(() => readdirSync('/dev/null'))
  expect(sync.diagnostics).toMatchObject([
    { code: 'E265', message: expect.stringContaining('ENOTDIR'), hint: expect.stringContaining('df /dev') },
  ])
  expect(sync.exit).toBe(69)
  const later = await thrownBy(() => rmdir('/proc'))
  expect(later.diagnostics).toMatchObject([{ code: 'E265', message: expect.stringContaining("'/proc'") }])
})

test('any other exception is E999', async () => {
  for (const error of [new TypeError('x'), Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' }), 'x']) {
    expect(unexpected(error)).toMatchObject({ exit: 70, diagnostics: [{ code: 'E999' }] })
  }
})
