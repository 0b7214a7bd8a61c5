// verdict_of in bpf/include/verdict.h, for every reason.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ran } from '../../src/abi/answer.ts'
import { REASON } from '../../src/abi/generated.ts'
import { askBpftool, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { REASONS, verdictOf } from '../../src/report/reason.ts'
import { buildObject } from '../support/objects.ts'

/** linux/bpf.h enum xdp_action */
const ACTIONS = { aborted: 0, drop: 1, pass: 2, tx: 3, redirect: 4 } as const

const pin = `/sys/fs/bpf/xdp-test-reasons-${process.pid}`
const files = `/dev/shm/xdp-test-reasons-${process.pid}`

/** Returns the action of the reason in the first byte of the packet. */
const PROGRAM = `
#include "${fileURLToPath(new URL('../../bpf/include/verdict.h', import.meta.url))}"
SEC("xdp") int action(struct xdp_md *ctx)
{
	const __u8 *reason = (void *)(long)ctx->data;
	return (void *)(reason + 1) > (void *)(long)ctx->data_end ? 99 : verdict_of(*reason);
}
`

beforeAll(async () => {
  mkdirSync(files)
  await runBpftool('prog', 'load', buildObject(files, 'action', PROGRAM), pin)
})
afterAll(() => {
  rmSync(pin, { force: true })
  rmSync(files, { recursive: true })
})

test('has the reasons of the reports, in their order', () => {
  expect(Object.keys(REASON).map((name) => name.toLowerCase().replaceAll('_', '-'))).toEqual(REASONS)
})

test.each(REASONS)('%s has the verdict of the reports', async (reason) => {
  const packet = new Uint8Array(64)
  packet[0] = REASONS.indexOf(reason)
  writeFileSync(`${files}/packet`, packet)
  const run = await askBpftool(ran, 'prog', 'run', 'pinned', pin, 'data_in', `${files}/packet`)
  expect(run).toMatchObject({ retval: ACTIONS[verdictOf(reason)] })
})
