// An apply that is killed or fails at any point leaves one complete policy in force, and the next apply converges.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect } from 'vitest'
import { inDepth, inTurns, usually } from '../support/depth.ts'
import { ETH0, ETH1, EVERY_PIN, Lab, NO_OBJECTS } from '../support/hosts.ts'

let lab: Lab

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(() => lab.close())

const config = (blocked: string, interfaces = 'eth0: {}, eth1: {}'): string =>
  `version: 1\ninterfaces: { ${interfaces} }\nblocklist: [203.0.113.0/24, ${blocked}]\n`

/** Checks that one policy is in force on every interface, and that no objects of another one remain. */
async function settled(): Promise<void> {
  const status = JSON.parse(await lab.ok('status', '--json'))
  expect(status).toMatchObject({ drift: false, leftovers: [] })
  expect(new Set(status.interfaces.map(({ program_id }: { program_id: number }) => program_id)).size).toBe(1)
  const generation = (pin: string): string | undefined => /gen-\d+/.exec(pin)?.[0]
  expect(new Set(lab.pins().map(generation))).toEqual(new Set([undefined, `gen-${status.generation}`]))
  expect(lab.pins()).toHaveLength(EVERY_PIN)
}

inTurns('an apply killed at any moment leaves the data plane working, and the next apply converges', async () => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  const begun = performance.now()
  await lab.ok('apply', '--auto-approve')
  const duration = performance.now() - begun
  const rounds = usually(3, { thoroughly: 12 })
  for (let round = 0; round < rounds; round++) {
    const [blocked, passing] = round % 2 === 0 ? ['192.0.2.3', '192.0.2.2'] : ['192.0.2.2', '192.0.2.3']
    lab.write('xdp.yaml', config(blocked))
    const child = lab.start('apply', '--auto-approve')
    const closed = once(child, 'close')
    // The delays sweep over the whole run.
    await sleep((duration * (round + 1)) / rounds)
    child.kill('SIGKILL')
    await closed
    const answers = [
      await lab.ping('192.0.2.1', { source: blocked, count: 1 }),
      await lab.ping('192.0.2.1', { source: passing, count: 1 }),
    ]
    expect(answers.toSorted(), `one of the two policies is in force after round ${round}`).toEqual([0, 1])
    await lab.ok('apply', '--auto-approve')
    expect(await lab.ping('192.0.2.1', { source: blocked, count: 1 })).toBe(0)
    expect(await lab.ping('192.0.2.1', { source: passing, count: 1 })).toBe(1)
    await settled()
  }
})

inDepth('the next apply, or destroy, removes all leftovers of a killed first apply', async () => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  for (const delay of usually([250], { thoroughly: [150, 200, 250, 300, 400] })) {
    const child = lab.start('apply', '--auto-approve')
    const closed = once(child, 'close')
    await sleep(delay)
    child.kill('SIGKILL')
    await closed
    await lab.ok('apply', '--auto-approve')
    await settled()
    await lab.ok('destroy', '--auto-approve')
    await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
  }
})

inDepth('a failed attach on a new interface changes nothing on the old one', async () => {
  lab.write('xdp.yaml', config('192.0.2.2', 'eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  const before = JSON.parse(await lab.ok('status', '--json'))
  lab.write('xdp.yaml', config('192.0.2.3', 'eth0: {}, lo: { mode: native }'))
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(69)
  const after = JSON.parse(await lab.ok('status', '--json'))
  expect(after.interfaces[0].program_id).toBe(before.interfaces[0].program_id)
  expect(after).toMatchObject({ drift: false, leftovers: [], generation: before.generation })
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(1)
})

/** A bpftool that runs a batch up to the line that attaches to `device`, then fails like a busy kernel. */
function stumblingBpftool(device: string): void {
  lab.tool(
    'bpftool',
    `if [ "$*" = "-j batch file -" ]; then
  lines=$(cat)
  case "$lines" in
    *"dev ${device} overwrite"*)
      printf '%s\\n' "$lines" | sed '/dev ${device} overwrite/,$d' | /usr/sbin/bpftool -j batch file - >/dev/null
      echo '[{"command":["net","attach"],"output":{"error":"interface xdpdrv attach failed: Device or resource busy"}}]'
      exit 240;;
    *) printf '%s\\n' "$lines" | /usr/sbin/bpftool -j batch file -; exit $?;;
  esac
fi
exec /usr/sbin/bpftool "$@"
`,
  )
}

inTurns('a switch that fails halfway is rolled back: every interface has its old policy again', async () => {
  lab.write('xdp.yaml', config('192.0.2.2, 198.51.100.2'))
  await lab.ok('apply', '--auto-approve')
  const before = JSON.parse(await lab.ok('status', '--json'))
  lab.write('xdp.yaml', config('192.0.2.3'))
  stumblingBpftool('eth1')
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(exitCode, stderr).toBe(1)
  expect(stderr).toContain('Device or resource busy')
  lab.realTools()
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(1)
  expect(await lab.ping('198.51.100.1', { source: '198.51.100.2', count: 1 })).toBe(0)
  const after = JSON.parse(await lab.ok('status', '--json'))
  expect(after).toMatchObject({ drift: false, leftovers: [], generation: before.generation })
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
  await settled()
})

inTurns('a second apply waits for the first, or names the holder of the lock', async () => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  const both = await Promise.all([lab.xdp('apply', '--auto-approve'), lab.xdp('apply', '--auto-approve')])
  expect(both.map(({ exitCode }) => exitCode)).toEqual([0, 0])
  await settled()
})
