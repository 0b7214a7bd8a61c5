// Tools come from fixed directories, whatever PATH says, and get a clean environment.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openHelper } from '../../../src/kernel/tools/helper.ts'
import { findTool, toolEnvironment } from '../../../src/kernel/tools/places.ts'
import { spawnTool, tryTool } from '../../../src/kernel/tools/spawn.ts'

const FIXED = '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-places-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

/** A script that prints `mine`. */
function script(name: string, mode = 0o755): string {
  const path = join(directory, name)
  writeFileSync(path, '#!/bin/sh\necho mine\n')
  chmodSync(path, mode)
  return path
}

describe.each(['', '.', './', ':', undefined])('PATH %j', (path) => {
  test('does not change where a tool is found', () => {
    script('sh')
    vi.stubEnv('PATH', path)
    const here = process.cwd()
    process.chdir(directory)
    try {
      expect(findTool('sh')).toMatch(/^\/usr\/bin\/sh$|^\/bin\/sh$/)
      expect(toolEnvironment()).toEqual({ PATH: FIXED, LC_ALL: 'C' })
    } finally {
      process.chdir(here)
    }
  })
})

describe('XDP_TOOLS_PATH', () => {
  test('is searched before the fixed directories, for every tool that it has', async () => {
    vi.stubEnv('XDP_TOOLS_PATH', `/nonexistent:${directory}`)
    const path = script('printf')
    expect(findTool('printf')).toBe(path)
    expect((await spawnTool('printf', ['%s', 'theirs'])).stdout).toBe('mine\n')
    expect(findTool('cat')).toMatch(/^\/usr\/bin\/cat$|^\/bin\/cat$/)
    expect(toolEnvironment()['PATH']).toBe(`/nonexistent:${directory}:${FIXED}`)
  })

  test('passes over a directory, and over a file that may not be executed', () => {
    vi.stubEnv('XDP_TOOLS_PATH', directory)
    mkdirSync(join(directory, 'sh'))
    script('cat', 0o644)
    expect([findTool('sh'), findTool('cat')].filter((path) => path.startsWith(directory))).toEqual([])
    script('only-here', 0o644)
    expect(() => findTool('only-here')).toThrow('only-here is not installed, or may not be executed')
    expect(() => findTool('nowhere')).toThrow('nowhere is not installed')
  })

  test.each(['tools', '.', './tools', '/opt/bin:', ':/opt/bin', '/opt/bin::/bin', '~/bin'])(
    'that contains a relative path is refused: %s',
    async (text) => {
      vi.stubEnv('XDP_TOOLS_PATH', text)
      const refusal = expect.objectContaining({ code: 'E300', message: expect.stringContaining('XDP_TOOLS_PATH') })
      await expect(spawnTool('true', [])).rejects.toMatchObject({ diagnostics: [refusal] })
      await expect(tryTool('true')).rejects.toMatchObject({ diagnostics: [refusal] })
    },
  )
})

describe('a tool', () => {
  const variables = async (): Promise<string[]> =>
    (await spawnTool('env', [])).stdout
      .split('\n')
      .map((line) => line.replace(/=.*/, ''))
      // Shells set PWD and some set OLDPWD, SHLVL and _ for the programs that they start.
      .filter((name) => name !== '' && !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name))
      .sort()

  test('gets no variable of the caller, started directly or by the shell', async () => {
    for (const name of ['LD_LIBRARY_PATH', 'LC_MESSAGES', 'XDP_SECRET', 'ENV']) vi.stubEnv(name, '/nonexistent')
    expect(await variables()).toEqual(['LC_ALL', 'PATH'])
    const helper = openHelper(async () => directory)
    try {
      expect(await variables()).toEqual(['LC_ALL', 'PATH'])
    } finally {
      await helper.close()
    }
  })
})
