// As root, files that other users can change are refused, and lines of files that they may not read are not shown.
import { chmodSync, chownSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { newReads } from '../../../src/config/text/source.ts'
import { ANY_FILE, rootsRule, type Trust } from '../../../src/config/text/trust.ts'
import { type Diagnostic, XdpError } from '../../../src/diagnostics.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-trust-'))
  chmodSync(directory, 0o755)
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const at = (name: string): string => join(directory, name)

function write(name: string, text: string, mode = 0o644): string {
  mkdirSync(dirname(at(name)), { recursive: true })
  writeFileSync(at(name), text)
  chmodSync(at(name), mode)
  return at(name)
}

const CONFIG =
  'version: 1\ninterfaces: { eth0: {} }\nblocklist: [{ name: feed, file: lists/feed.txt }]\ninclude: [conf.d/*.yaml]\n'

/** A config with a list and an included file that only root can change. */
function good(): string {
  write('lists/feed.txt', '192.0.2.1\n')
  write('conf.d/more.yaml', 'blocklist: [192.0.2.2]\n')
  return write('xdp.yaml', CONFIG)
}

async function load(path: string, trust: Trust = rootsRule(false)): Promise<readonly Diagnostic[]> {
  try {
    return (await loadConfig(path, { reads: newReads(trust) })).warnings
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return error.diagnostics
  }
}

const USER = 65534
const NOBODY = 'nobody but root can change files of root (SKIP: not root)'

describe.skipIf(process.getuid?.() !== 0)(NOBODY, () => {
  test('files of root are used, also in a directory like /tmp', async () => {
    const path = good()
    chmodSync(directory, 0o1777)
    expect(await load(path)).toEqual([])
  })

  const GAPS: readonly (readonly [string, () => void, message: string, hint: string])[] = [
    [
      'a config of another user',
      () => chownSync(at('xdp.yaml'), USER, 0),
      'xdp.yaml belongs to uid 65534',
      'chown root',
    ],
    [
      'a config that its group may write',
      () => chmodSync(at('xdp.yaml'), 0o664),
      'is writable for other users',
      'chmod go-w',
    ],
    [
      'a config that all may write',
      () => chmodSync(at('xdp.yaml'), 0o646),
      'is writable for other users',
      'chmod go-w',
    ],
    ['a list of another user', () => chownSync(at('lists/feed.txt'), USER, 0), 'feed.txt belongs to uid', 'chown root'],
    ['a list in a directory of another user', () => chownSync(at('lists'), USER, 0), 'the directory', 'chown root'],
    ['a directory that all may write', () => chmodSync(directory, 0o777), 'the directory', 'chmod go-w'],
    [
      'a sticky directory of another user',
      () => {
        chmodSync(directory, 0o1777)
        chownSync(directory, USER, 0)
      },
      'the directory',
      'chown root',
    ],
    [
      'an included file that all may write',
      () => chmodSync(at('conf.d/more.yaml'), 0o666),
      'more.yaml is writable',
      'chmod go-w',
    ],
    [
      'a symbolic link of another user',
      () => {
        write('real.txt', '192.0.2.1\n')
        rmSync(at('lists/feed.txt'))
        symlinkSync('../real.txt', at('lists/feed.txt'))
        lchownSync(at('lists/feed.txt'), USER, 0)
      },
      'the symbolic link',
      'chown -h root',
    ],
    [
      'a link into a directory of another user',
      () => {
        write('theirs/feed.txt', '192.0.2.1\n')
        chownSync(at('theirs'), USER, 0)
        rmSync(at('lists/feed.txt'))
        symlinkSync(at('theirs/feed.txt'), at('lists/feed.txt'))
      },
      'theirs belongs to uid',
      'chown root',
    ],
  ]

  test.each(GAPS)('%s is refused, unless the user accepts it', async (_, open, message, hint) => {
    const path = good()
    open()
    const [error] = await load(path)
    expect(error).toMatchObject({
      code: 'E132',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    })
    expect(error?.hint).toContain('--allow-insecure-permissions')
    expect(await load(path, rootsRule(true))).toEqual([])
    expect(await load(path, ANY_FILE)).toEqual([])
  })

  test('an error about a list or an included file names the place that names it', async () => {
    const path = good()
    chmodSync(at('lists/feed.txt'), 0o666)
    chmodSync(at('conf.d/more.yaml'), 0o666)
    expect((await load(path)).map(({ at: place }) => [place?.file, place?.line])).toEqual([
      [path, 3],
      [path, 4],
    ])
  })

  const SECRET = 'root:$y$j9T$secret:19700:0:99999:7:::\n'

  test.each([
    ['a list', () => write('lists/feed.txt', SECRET, 0o640)],
    [
      'a list in a closed directory',
      () => {
        write('lists/feed.txt', SECRET)
        chmodSync(at('lists'), 0o750)
      },
    ],
    ['a list that is not text', () => write('lists/feed.txt', `${SECRET}\0`, 0o600)],
    [
      'a list with columns',
      () => {
        write('lists/feed.txt', `a,${SECRET}1,2\n`, 0o600)
        write('xdp.yaml', CONFIG.replace('feed.txt', 'feed.txt, format: csv, column: b'))
      },
    ],
    ['an included file', () => write('conf.d/more.yaml', SECRET, 0o640)],
    ['an included file that is no YAML', () => write('conf.d/more.yaml', `{ ${SECRET}`, 0o640)],
  ])('an error in %s that not every user may read shows nothing of it', async (_, hide) => {
    const path = good()
    hide()
    for (const trust of [rootsRule(false), rootsRule(true)]) {
      const errors = await load(path, trust)
      expect(errors.length).toBeGreaterThan(0)
      expect(JSON.stringify(errors)).not.toContain('secret')
      expect(errors[0]).toMatchObject({ message: expect.stringContaining('it is not shown') })
    }
  })

  test('an error in a list that every user may read shows its line', async () => {
    const path = good()
    write('lists/feed.txt', 'not-an-address\n')
    expect(await load(path)).toMatchObject([{ code: 'E020', at: { text: 'not-an-address' } }])
  })

  test('an error in the config itself shows its line, whoever may read it', async () => {
    const path = good()
    write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [not-an-address]\n', 0o600)
    expect(await load(path)).toMatchObject([{ code: 'E020', at: { text: 'blocklist: [not-an-address]' } }])
  })
})
