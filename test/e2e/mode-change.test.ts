// A change between native and generic mode, in which the kernel allows no overlap: the interface does not stay without a
// program, even if apply is killed in the gap.

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import { inTurns } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

let lab: Lab

const config = (mode: string, blocked: string): string =>
  `version: 1\ninterfaces: { eth0: { mode: ${mode} } }\nblocklist: [${blocked}]\n`

beforeEach(async () => {
  lab = new Lab([ETH0])
  lab.write('xdp.yaml', config('generic', '192.0.2.2'))
  await lab.ok('apply', '--auto-approve')
  lab.write('xdp.yaml', config('native', '192.0.2.3'))
})
afterEach(() => lab.close())

const inGap = (): string => join(lab.directory, 'in-gap')
const go = (): string => join(lab.directory, 'go')

/** linux/if_link.h XDP_ATTACHED_DRV and XDP_ATTACHED_SKB */
const NATIVE = 1
const GENERIC = 2

function modesOn(device: string): number[] {
  const [link] = JSON.parse(lab.in(lab.host, 'ip', '-j', '-d', 'link', 'show', 'dev', device))
  return (link.xdp?.attached ?? []).map(({ mode }: { mode: number }) => mode)
}

/** Makes bpftool wait between the detach and the attach until the file `go` exists, then run `attach`. */
function pauseInGap(attach: string): void {
  lab.tool(
    'bpftool',
    `[ "$*" = "-j batch file -" ] || exec /usr/sbin/bpftool "$@"
lines=$(cat)
case "$lines" in *"net detach"*)
  printf '%s\\n' "$lines" | grep 'net detach' | /usr/sbin/bpftool -j batch file - >/dev/null
  : > ${inGap()}
  until [ -e ${go()} ]; do sleep 0.02; done
  ${attach};;
esac
printf '%s\\n' "$lines" | /usr/sbin/bpftool -j batch file -
`,
  )
}

const REAL = `printf '%s\\n' "$lines" | grep 'net attach' | /usr/sbin/bpftool -j batch file -; exit $?`
const REFUSED = `echo '[{"command":["net","show"],"output":[]},{"command":["net","detach"],"output":{}},{"command":["net","attach"],"output":{"error":"Operation not supported"}}]'; exit 161`

/** Starts an apply, and kills it in the gap. */
async function killInGap(): Promise<void> {
  const child = lab.start('apply', '--auto-approve')
  const closed = once(child, 'close')
  await expect.poll(() => existsSync(inGap())).toBe(true)
  expect(modesOn('eth0')).toEqual([])
  child.kill('SIGKILL')
  await closed
  lab.write('go', '')
}

/** Checks that the next apply converges to the new policy in native mode. */
async function converges(): Promise<void> {
  lab.realTools()
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  expect(modesOn('eth0')).toEqual([NATIVE])
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
}

inTurns('an apply that is killed in the gap leaves a process behind that attaches the new program', async () => {
  pauseInGap(REAL)
  await killInGap()
  await expect.poll(() => modesOn('eth0')).toEqual([NATIVE])
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
  await converges()
})

inTurns('if the attach fails after that, it attaches the old program again', async () => {
  pauseInGap(REFUSED)
  await killInGap()
  await expect.poll(() => modesOn('eth0')).toEqual([GENERIC])
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  await converges()
})

inTurns('an apply whose new mode is refused ends with the old program and policy', async () => {
  pauseInGap(REFUSED)
  lab.write('go', '')
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(stderr).toContain('E102 mode-unsupported')
  expect(exitCode).toBe(69)
  expect(modesOn('eth0')).toEqual([GENERIC])
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  await converges()
})

inTurns('the plan reports the gap', async () => {
  expect(await lab.ok('plan')).toContain('traffic-gap')
  await converges()
})
