// Memory that an image retains. A process that applies many times keeps the last image, and must not keep all of them.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import type { LeavingBackend } from '../../../src/model/service.ts'
import { editImage } from '../../../src/tables/image/edit.ts'
import { compileImage } from '../../../src/tables/image/image.ts'
import type { Source } from '../../../src/tables/image/source.ts'
import type { Image } from '../../../src/tables/layout/layout.ts'
import { backend, balancing, service } from '../../support/services.ts'
import { slotsFor } from '../../support/slots.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function sourceOf(weight: number): Source {
  const backends = [backend('10.0.0.1'), backend('10.0.0.2', { weight })]
  const state = balancing([
    service('web', '192.0.2.1 80', { backends }),
    service('other', '192.0.2.9 80', { backends }),
  ])
  const leaving: LeavingBackend[] = []
  return {
    state,
    slots: slotsFor(state),
    leaving,
    meta: { generation: weight, netns: 1n, objectDigest: new Uint8Array(16) },
  }
}

const compiled = (weight: number, previous: Image | undefined): Image => compileImage({ ...sourceOf(weight), previous })

const edited = (weight: number, previous: Image | undefined): Image =>
  previous === undefined
    ? compileImage(sourceOf(weight))
    : (editImage({ ...sourceOf(weight), previous, toggles: [], always: true }) as Image)

test.each([
  ['compiled', compiled],
  ['edited', edited],
])('an image that was %s does not retain the previous one', async (_, make) => {
  const before: WeakRef<Image>[] = []
  let last: Image | undefined
  for (let weight = 1; weight <= 5; weight++) {
    last = make(weight, last)
    before.push(new WeakRef(last))
  }
  // Targets of a WeakRef that was created or read stay alive until the end of the turn.
  await new Promise((resolve) => setImmediate(resolve))
  collectGarbage()
  expect(before.map((image) => image.deref() !== undefined)).toEqual([false, false, false, false, true])
  expect(last?.sections.RINGS.length).toBeGreaterThan(0)
})
