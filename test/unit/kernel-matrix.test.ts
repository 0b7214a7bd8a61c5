// The scripts of `npm run test:kernels`: what they read from the console of a guest, and what they record.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { instructionsOf, judge } from '../../scripts/kernels/judge.mjs'
import { isBelowFloor, kernelNamed } from '../../scripts/kernels/matrix.mjs'
import { ownKernel } from '../../scripts/kernels/own.mjs'
import { recorded, summaryOf } from '../../scripts/kernels/results.mjs'

const CONSOLE = `kernel 6.1.0-57-cloud-amd64
about nat
ok NAT: connections
    ok    kernel.version  an indented line of a command
not ok NAT: and others
    nc: timed out
instructions 1 xdp_filter 46053
instructions 10 xdp_filter 270814
about syn
ok SYN cookies: counted
end of test
`

const judged = (output: string, timedOut = false) => judge({ output, timedOut }, { limit: 600 } as never)

describe('the console of a guest', () => {
  test('every check belongs to the feature before it, and a failure has its cause', () => {
    expect(judged(CONSOLE)).toEqual([
      { feature: 'nat', name: 'NAT: connections', problem: undefined },
      { feature: 'nat', name: 'NAT: and others', problem: expect.stringContaining('nc: timed out') },
      { feature: 'syn', name: 'SYN cookies: counted', problem: undefined },
      { feature: 'boot', name: 'the guest finishes', problem: undefined },
    ])
  })

  test.each([
    [true, 'in 600 s'],
    [false, 'did not finish'],
  ])('a guest that does not reach its end has failed (timed out: %s)', (timedOut, words) => {
    const results = judged(CONSOLE.replace('end of test\n', ''), timedOut)
    expect(results.at(-1)).toMatchObject({ feature: 'boot', problem: expect.stringContaining(words) })
  })

  test('instructions are counted by policy and program', () => {
    expect(instructionsOf(CONSOLE)).toEqual({ 1: { xdp_filter: 46053 }, 10: { xdp_filter: 270814 } })
  })

  test('a policy without results has failed', () => {
    const cases = { POLICIES: [{ number: 1, name: 'lists', rows: [{}] }], judgePackets: () => [] }
    const results = judge({ output: CONSOLE, timedOut: false }, { cases, limit: 600 } as never)
    expect(results).toContainEqual({
      ...{ feature: 'packets', name: 'lists' },
      problem: expect.stringContaining('no results'),
    })
  })
})

describe('making the record', () => {
  const kernel = { name: '6.1', architecture: 'amd64', release: '6.1.0-57', suite: 'bookworm' }

  test('a feature passed if every test of it passed in every guest', () => {
    const guest = (problem?: string) => ({ results: [{ feature: 'nat', name: 'a', problem }], instructions: {} })
    expect(summaryOf(kernel, [guest(), guest()], [1, 10]).features).toEqual({ nat: true })
    expect(summaryOf(kernel, [guest('lost'), guest()], [1, 10]).features).toEqual({ nat: false })
  })

  test('a kernel that is not to be had today stays as it was tested', () => {
    const before = { kernels: [summaryOf(kernel, [], [1, 10])] }
    expect(JSON.parse(recorded(before, [{ name: '6.1', absent: 'no network' }]))).toEqual(before)
    expect(JSON.parse(recorded(undefined, [{ name: '5.15', absent: 'not there' }])).kernels).toHaveLength(1)
  })

  test.each([
    ['5.10.0-46-cloud-amd64', true],
    ['6.0.19', true],
    ['6.1.0-57-cloud-amd64', false],
    ['6.12.118+deb13-cloud-arm64', false],
    ['7.3.4+deb13-cloud-amd64', false],
  ])('%s is below the floor: %s', (release, expected) => expect(isBelowFloor(release)).toBe(expected))

  test('a series that the matrix does not have is one for x86-64', () => {
    expect(kernelNamed('6.18')).toEqual({ name: '6.18', series: '6.18', architecture: 'amd64' })
    expect(kernelNamed('arm64')).toMatchObject({ series: '6.1', architecture: 'arm64' })
  })
})

describe('a kernel in a file', () => {
  const place = (): string => {
    const directory = mkdtempSync(join(tmpdir(), 'xdp-kernel-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    return directory
  }

  /** The first bytes of an image, with its version 0x120 bytes after the boot sector. */
  function image(version: string): Buffer {
    const bytes = Buffer.alloc(0x400)
    bytes.write('HdrS', 0x202)
    bytes.writeUInt16LE(0x120, 0x20e)
    bytes.write(`${version}\0`, 0x320)
    return bytes
  }

  test('has the release of its header, and the modules below its directory', () => {
    const directory = place()
    writeFileSync(join(directory, 'vmlinuz'), image('6.8.0-45-generic (buildd@lcy02) #45-Ubuntu SMP'))
    mkdirSync(join(directory, 'kernel/net'), { recursive: true })
    writeFileSync(join(directory, 'kernel/net/veth.ko.zst'), '')
    writeFileSync(join(directory, 'kernel/net/Makefile'), '')
    symlinkSync(directory, join(directory, 'build'))
    expect(ownKernel(join(directory, 'vmlinuz'), directory)).toEqual({
      release: '6.8.0-45-generic',
      suite: undefined,
      image: join(directory, 'vmlinuz'),
      modules: [join(directory, 'kernel/net/veth.ko.zst')],
    })
  })

  test.each([
    ['of another format', Buffer.from('#!/bin/sh\n')],
    ['without a version', image('custom')],
  ])('%s is refused', (_, bytes) => {
    const path = join(place(), 'vmlinuz')
    writeFileSync(path, bytes)
    expect(() => ownKernel(path)).toThrow('no kernel for x86-64 (bzImage)')
  })

  test('that does not exist, or whose modules do not, is refused', () => {
    const directory = place()
    expect(() => ownKernel(join(directory, 'vmlinuz'))).toThrow('cannot be read: ENOENT')
    writeFileSync(join(directory, 'vmlinuz'), image('6.8.0'))
    expect(() => ownKernel(join(directory, 'vmlinuz'), join(directory, 'modules'))).toThrow('modules does not exist')
  })
})
