// Which parts a policy needs, and the objects that are made ready for loading with them.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { loadObject, prepareObjects } from '../../../src/kernel/tools/object.ts'
import { ALL_PARTS, type Part, partsFor } from '../../../src/kernel/tools/parts.ts'
import { backend, balancing, service } from '../../support/services.ts'
import { state } from '../../support/states.ts'

const directory = mkdtempSync('/tmp/xdp-objects-')
afterAll(() => rmSync(directory, { recursive: true }))

test('a policy has the balancer where it has services', () => {
  expect(partsFor(state({ policy: 'pass' }))).toEqual([])
  const web = service('web', '192.0.2.1 80', { backends: [backend('10.0.0.1')] })
  expect(partsFor(balancing([web]))).toEqual(['balancer'])
})

test('objects are written with other bytes for other parts, and the shipped ones stay as they are', async () => {
  const object = await loadObject()
  const prepare = async (name: string, parts: readonly Part[]): Promise<readonly Buffer[]> => {
    mkdirSync(`${directory}/${name}`)
    const paths = await prepareObjects(`${directory}/${name}`, object, parts)
    return paths.map((path) => readFileSync(path))
  }
  const [none, all] = [await prepare('none', []), await prepare('all', ALL_PARTS)]
  expect(none).toHaveLength(object.paths.length)
  for (const [i, path] of object.paths.entries()) {
    expect(none[i]?.equals(all[i] as Buffer)).toBe(false)
    expect(readFileSync(path).equals(object.contents[i] as Uint8Array)).toBe(true)
  }
})

test('a damaged object is E110, by its path', async () => {
  const damaged = { paths: ['/usr/lib/xdp/xdp.bpf.o'], contents: [Buffer.from('\x7fELF')] }
  await expect(prepareObjects(directory, damaged, [])).rejects.toMatchObject({
    diagnostics: [
      { code: 'E110', message: '/usr/lib/xdp/xdp.bpf.o is no ELF file', hint: expect.stringContaining('reinstall') },
    ],
  })
})
