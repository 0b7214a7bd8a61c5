// Drift apart from edits: the plan names the foreign program with its owner, and --drift-only looks at nothing else.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SETTINGS_FLAG } from '../../src/abi/generated.ts'
import { EXIT } from '../../src/diagnostics.ts'
import { SETTINGS_LINE } from '../../src/tables/layout/layout.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'
import { check } from '../support/schemas.ts'

/** Opens a pinned program (BPF_OBJ_GET of linux/bpf.h is 7), says so, and waits. */
const HOLDER = `#include <linux/bpf.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	union bpf_attr attr = { .pathname = (unsigned long)argv[1] };
	if (syscall(__NR_bpf, 7, &attr, sizeof(attr)) < 0)
		return 1;
	puts("open");
	fflush(stdout);
	pause();
	return 0;
}
`

let lab: Lab
let holder: ChildProcess | undefined

beforeAll(async () => {
  lab = new Lab([ETH0])
  write('192.0.2.2')
  await lab.ok('apply', '--auto-approve')
})
afterAll(() => {
  holder?.kill('SIGKILL')
  lab.close()
})

const write = (...blocked: readonly string[]): string =>
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {} }\nblocklist: [${blocked.join(', ')}]\n`)

/** Attaches a foreign program that a process holds open; returns its id. */
async function replace(): Promise<number> {
  const object = buildObject(
    lab.directory,
    'other',
    'SEC("xdp.frags") int other(struct xdp_md *ctx) { return XDP_PASS; }',
  )
  const pin = join(lab.bpffs, 'other')
  lab.in(lab.host, 'bpftool', 'prog', 'load', object, pin, 'type', 'xdp')
  lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', 'eth0', 'overwrite')
  const program = join(lab.directory, 'holder')
  execFileSync('clang', ['-x', 'c', '-o', program, lab.write('holder.c', HOLDER)])
  holder = spawn(program, [pin], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout as NodeJS.ReadableStream, 'data')
  return (JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'prog', 'show', 'pinned', pin)) as { id: number }).id
}

test('an edit is no drift', async () => {
  write('192.0.2.3')
  expect(await lab.ok('plan', '--drift-only', '--detailed-exitcode')).toBe(
    'No drift. The live state is as the last apply left it.\n',
  )
  const json = JSON.parse(await lab.ok('plan', '--json'))
  check('plan', JSON.stringify(json))
  expect(json.changes).toMatchObject([
    { key: 'list:blocklist', drifted: false, edited: true, reason: 'config-changed' },
  ])
})

test('an object that drifted to the edited config is both, by the record of the last apply', async () => {
  const policy = join(lab.bpffs, 'xdp-as-code/default/gen-1/policy')
  const line = ['pinned', policy, 'key', ...Array.from(new Uint8Array(Uint32Array.of(SETTINGS_LINE).buffer), String)]
  const { value } = JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'map', 'lookup', ...line)) as { value: string[] }
  const flags = String(Number(value[4]) ^ SETTINGS_FLAG.DEFAULT_DROP)
  lab.in(lab.host, 'bpftool', 'map', 'update', ...line, 'value', ...value.with(4, flags))
  write('192.0.2.2')
  const changes = async () => JSON.parse(await lab.ok('plan', '--json')).changes
  expect(await changes()).toMatchObject([{ key: 'policy', drifted: true, edited: false }])
  write('192.0.2.2]\npolicy: { default: drop, established: judge }\nallowlist: [192.0.2.3')
  expect((await changes()).find(({ key }: { key: string }) => key === 'policy')).toMatchObject({
    drifted: true,
    edited: true,
  })
  write('192.0.2.2')
  await lab.ok('apply', '--auto-approve')
})

test('drift and edits of one config stand apart', async () => {
  lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'xdpdrv', 'off')
  write('192.0.2.2', '192.0.2.3')
  const text = await lab.ok('plan')
  expect(text).toMatch(/! Drift since the last apply:\n! {3}interface eth0: detached since the last apply\n/)
  expect(text).toMatch(
    /Apply reverts the drift:\n {3}\+ interface eth0[\s\S]*Apply follows the config:\n {3}~ blocklist .*\(config-changed\)/,
  )
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan', '--drift-only', '--detailed-exitcode')).toContain('No drift.')
})

test('a foreign program in place of ours is drift, with its owner, and no guard hides it', async () => {
  write('192.0.2.2')
  await lab.ok('apply', '--auto-approve')
  const id = await replace()
  write('192.0.2.3')
  const { exitCode, stdout } = await lab.xdp('plan', '--drift-only', '--detailed-exitcode')
  expect(exitCode).toBe(EXIT.changesPending)
  expect(stdout).toContain('!   interface eth0: another program was attached in place of ours')
  const owner = `by uid 0, held by pid ${holder?.pid} (holder)`
  expect(stdout).toMatch(
    new RegExp(`by program ${id} other \\(native, tag .*\\), loaded 20.*Z `.concat(owner.replace(/[()]/g, '\\$&'))),
  )
  expect(stdout).toContain('(drift)')
  expect(stdout).not.toContain('192.0.2.3')
  expect(stdout).toMatch(/Drift: 1 object differs from the last apply\.\n$/)

  expect(await lab.ok('status')).toMatch(new RegExp(`!     by program ${id} other .*held by pid ${holder?.pid} `))
  expect(check('status', await lab.ok('status', '--json'))).toMatchObject({
    drifted: [{ key: 'interface:eth0', by: [{ id, uid: 0, holders: [{ pid: holder?.pid }] }] }],
  })

  const json = JSON.parse(await lab.ok('plan', '--drift-only', '--json'))
  check('plan', JSON.stringify(json))
  expect(json).toMatchObject({
    drift: [
      {
        key: 'interface:eth0',
        by: [{ id, name: 'other', uid: 0, holders: [{ pid: holder?.pid, command: 'holder' }] }],
      },
    ],
    changes: [{ key: 'interface:eth0', drifted: true, edited: false, reason: 'drift' }],
    summary: { create: 1, update: 0 },
    partial: true,
    warnings: [],
  })
  // The whole plan is refused, by the same program.
  const refused = await lab.xdp('plan')
  expect(refused.exitCode).toBe(EXIT.refused)
  expect(refused.stderr).toContain(`id ${id}, name other`)
  expect(refused.stderr).toContain(owner)
})
