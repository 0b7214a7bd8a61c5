// A daemon beside an unconfirmed apply: it holds meanwhile, and does not bring back what was reverted.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

const config = (blocked: string): string => `version: 1
interfaces: { eth0: {} }
blocklist: [${blocked}]
`

let lab: Lab
let daemon: Watching | undefined

beforeAll(() => {
  lab = new Lab()
})
afterAll(async () => {
  await daemon?.end()
  lab.close()
})

const answers = async (): Promise<number[]> =>
  Promise.all(['192.0.2.2', '192.0.2.3'].map((source) => lab.ping('192.0.2.1', { source, count: 1, seconds: 0.3 })))

test('edits wait for the end of the confirmation; a reverted config is held until it is edited', async () => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  await lab.ok('apply', '--auto-approve')
  lab.write('xdp.yaml', config('192.0.2.3'))
  await lab.ok('apply', '--auto-approve', '--confirm', '1h')
  daemon = new Watching(lab, '--debounce', '20ms')
  await daemon.hear('ready')

  lab.write('xdp.yaml', config('192.0.2.2, 192.0.2.3'))
  expect((await daemon.hear('refused')).errors?.map(({ code }) => code)).toEqual(['E230'])
  expect(await answers()).toEqual([1, 0])
  lab.write('xdp.yaml', config('192.0.2.3'))
  await daemon.hear('recovered')

  await lab.ok('confirm', '--cancel')
  await daemon.hear('overruled', ({ why }) => why === 'unconfirmed')
  expect(await answers()).toEqual([0, 1])

  lab.write('xdp.yaml', config('192.0.2.2, 192.0.2.3'))
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
  expect(await answers()).toEqual([0, 0])
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ reverted: null, pending_confirmation: null })
})
