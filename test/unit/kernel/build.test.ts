// The error for a failed load, by the version of the kernel.

import { expect, test } from 'vitest'
import { XdpError } from '../../../src/diagnostics.ts'
import { loadFailed } from '../../../src/kernel/execute/building.ts'
import { allDone } from '../../../src/kernel/tools/bpftool.ts'
import { CommandError } from '../../../src/kernel/tools/spawn.ts'

const refusal = new CommandError('bpftool prog loadall', 255, 'unknown func bpf_loop#181')

test.each(['5.10.0-28-amd64', '5.15.167', '6.0.19'])(
  'on Linux %s a failed load is E107 with the kernel’s words',
  (kernel) => {
    const failure = loadFailed(refusal, kernel) as XdpError
    expect(failure.exit).toBe(69)
    expect(failure.diagnostics).toMatchObject([
      {
        code: 'E107',
        message: expect.stringContaining('unknown func bpf_loop#181'),
        hint: expect.stringContaining('xdp doctor'),
      },
    ])
    expect(failure.message).toContain(kernel)
  },
)

test('its message lists what each feature lacks there', () => {
  const { message } = loadFailed(refusal, '5.10.0-28-amd64') as XdpError
  expect(message).toContain('It lacks for filter: ')
  expect(message).toContain('bpf_loop), Linux 5.17')
  expect(message).toContain('For bans: walks through a map (bpf_for_each_map_elem), Linux 5.13')
})

test.each(['6.1.0-25-cloud-amd64', '6.12', '7.0.1', 'unversioned'])('on Linux %s the error is passed on', (kernel) => {
  expect(loadFailed(refusal, kernel)).toBe(refusal)
})

test('an error that is not a failed command is passed on', () => {
  const error = new XdpError([{ code: 'E100', severity: 'error', message: 'bpftool is not installed' }])
  expect(loadFailed(error, '5.10.0')).toBe(error)
})

test('a failure is reported only after all parallel runs have ended', async () => {
  let end = (): void => undefined
  const slow = new Promise<string>((resolve) => {
    end = () => resolve('done')
  })
  let reported = false
  const all = allDone([Promise.reject(new Error('refused')), slow]).finally(() => {
    reported = true
  })
  all.catch(() => undefined)
  await new Promise((resolve) => setImmediate(resolve))
  expect(reported).toBe(false)
  end()
  await expect(all).rejects.toThrow('refused')
  expect(await allDone([slow, Promise.resolve('too')])).toEqual(['done', 'too'])
})
