// Which parts a policy needs, and the copies of the objects with them.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { sameParts } from '../../../src/abi/object.ts'
import { ALL_PARTS, NO_PARTS, partsFor } from '../../../src/features/features.ts'
import { loadObject, withObjects, withParts } from '../../../src/kernel/tools/object.ts'
import { backend, balancing, service } from '../../support/services.ts'
import { state } from '../../support/states.ts'

test('only a policy with services needs the balancer', () => {
  expect(partsFor(state({ policy: 'pass' }))).toEqual(NO_PARTS)
  const web = service('web', '192.0.2.1 80', { backends: [backend('10.0.0.1')] })
  expect(partsFor(balancing([web]))).toEqual(new Map([...NO_PARTS, ['balancer', true]]))
})

test('parts are the same if the programs have the same ones', () => {
  expect(sameParts(ALL_PARTS, new Map(ALL_PARTS))).toBe(true)
  expect(sameParts(ALL_PARTS, NO_PARTS)).toBe(false)
})

test('copies differ with their parts, and the shipped objects stay as they are', async () => {
  const shipped = await loadObject()
  const copies = (parts: typeof ALL_PARTS): Promise<Buffer[]> =>
    withObjects(shipped, parts, (paths) => paths.map((path) => readFileSync(path)))
  const [none, all] = [await copies(NO_PARTS), await copies(ALL_PARTS)]
  expect(none).toHaveLength(shipped.objects.length)
  for (const [i, { path, content }] of shipped.objects.entries()) {
    expect(none[i]?.equals(all[i] as Buffer)).toBe(false)
    expect(readFileSync(path).equals(content)).toBe(true)
  }
})

test('a damaged object is E110 with its path', () => {
  const damaged = { path: '/usr/lib/xdp/xdp.bpf.o', content: Buffer.from('\x7fELF') }
  expect(() => withParts(damaged, NO_PARTS)).toThrow(
    expect.objectContaining({
      diagnostics: [
        {
          ...{ code: 'E110', severity: 'error' },
          message: '/usr/lib/xdp/xdp.bpf.o is no ELF file',
          hint: expect.stringContaining('reinstall'),
        },
      ],
    }),
  )
})
