// A host that takes something away: a writable /run, room on it, a capability, or the bpffs in the middle of an apply.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sample, usually } from '../support/depth.ts'
import { ETH0, ETH1, EVERY_PIN, Lab } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'

let lab: Lab

const config = (blocked: string): string =>
  `version: 1\ninterfaces: { eth0: {}, eth1: {} }\nblocklist: [203.0.113.0/24, ${blocked}]\n`

beforeEach(async () => {
  lab = new Lab([ETH0, ETH1])
  lab.write('xdp.yaml', config('192.0.2.2'))
  await lab.ok('apply', '--auto-approve')
  await lab.ok('ban', '203.0.113.1')
})
afterEach(() => lab.close())

const mounts = (script: string): string[] => ['unshare', '--mount', 'sh', '-ec', `${script}\nexec "$@"`, 'sh']

/** Checks that the first policy is in force. */
async function asBefore(): Promise<void> {
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: false, leftovers: [] })
  expect(lab.pins()).toHaveLength(EVERY_PIN)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(1)
}

const SHARED = 'mount -t tmpfs -o mode=1777,size=2g none /dev/shm'

const READ_ONLY: readonly (readonly [string, string])[] = [['read-only', 'mount -t tmpfs -o ro none /run']]
const CROWDED: readonly [string, string] = ['without room for a directory', 'mount -t tmpfs -o nr_inodes=1 none /run']

describe.each(usually(READ_ONLY, { thoroughly: [...READ_ONLY, CROWDED] }))('/run that is %s', (_, script) => {
  test.each(
    usually([['status'], ['plan']], {
      thoroughly: [['status'], ['plan'], ['why', '192.0.2.2'], ['stats'], ['bans']],
    }),
  )('does not disturb %s', async (...args) => {
    const { exitCode, stdout, stderr } = await lab.xdpWithin(mounts(`${script}\n${SHARED}`), ...args)
    expect([exitCode, stderr]).toEqual([0, ''])
    expect(stdout).not.toBe('')
  })

  test('makes changes fail with E115, and changes nothing', async () => {
    lab.write('xdp.yaml', config('192.0.2.3'))
    for (const args of [
      ['apply', '--auto-approve'],
      ['ban', '192.0.2.3'],
      ['destroy', '--auto-approve'],
    ]) {
      const { exitCode, stderr } = await lab.xdpWithin(mounts(`${script}\n${SHARED}`), ...args)
      expect(stderr).toContain('E115 run-unwritable')
      expect(exitCode).toBe(69)
    }
    await asBefore()
  })

  test('with the files of the instance in it: changes fail with E115, and bans are listed', async () => {
    const remounted = mounts('mount --bind /run /run\nmount -o remount,bind,ro /run')
    const { exitCode, stderr } = await lab.xdpWithin(remounted, 'destroy', '--auto-approve')
    expect(stderr).toContain('E115 run-unwritable')
    expect(exitCode).toBe(69)
    expect((await lab.xdpWithin(remounted, 'bans', '--json')).exitCode).toBe(0)
    await asBefore()
  })

  test('without a shared tmpfs makes reading fail with E115', async () => {
    const { exitCode, stderr } = await lab.xdpWithin(mounts(`${script}\nmount -t tmpfs -o ro none /dev/shm`), 'status')
    expect(stderr).toContain('E115 run-unwritable')
    expect(exitCode).toBe(69)
  })
})

test.each(
  usually([[['apply', '--auto-approve']]], {
    thoroughly: [[['apply', '--auto-approve']], [['destroy', '--auto-approve']]],
  }),
)('a full /run makes %j fail with E115, and frees the lock', async (args) => {
  lab.write('xdp.yaml', config('192.0.2.3'))
  const fill = 'mount -t tmpfs -o size=64k none /run\ndd if=/dev/zero of=/run/full bs=1k 2>/dev/null || true'
  const { exitCode, stderr } = await lab.xdpWithin(mounts(fill), ...args)
  expect(stderr).toContain('E115 run-unwritable')
  expect(exitCode).toBe(69)
  await asBefore()
})

test.each(usually(['64k', '256k'], { thoroughly: ['8k', '64k', '128k', '256k', '512k', '1m'] }))(
  'a tmpfs of %s at /run makes apply succeed, or fail with E115',
  async (size) => {
    lab.write('xdp.yaml', config('192.0.2.3'))
    const { exitCode, stderr } = await lab.xdpWithin(
      mounts(`mount -t tmpfs -o size=${size} none /run`),
      'apply',
      '--auto-approve',
    )
    if (exitCode === 0) {
      expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
      return
    }
    expect(stderr).toContain('E115 run-unwritable')
    expect(exitCode).toBe(69)
    await asBefore()
  },
)

describe('without CAP_PERFMON', () => {
  const caps = ['setpriv', '--bounding-set=-all,+bpf,+net_admin,+dac_override', '--inh-caps=-all']

  test('apply is not permitted, and names it', async () => {
    lab.write('xdp.yaml', config('192.0.2.3'))
    const { exitCode, stderr } = await lab.xdpWithin(caps, 'apply', '--auto-approve')
    expect(stderr).toContain('E104 not-permitted]: loading XDP programs needs CAP_PERFMON')
    expect(exitCode).toBe(77)
    await asBefore()
  })

  test('status and bans work', async () => {
    expect(JSON.parse((await lab.xdpWithin(caps, 'status', '--json')).stdout)).toMatchObject({ drift: false })
    expect((await lab.xdpWithin(caps, 'ban', '203.0.113.9')).exitCode).toBe(0)
  })

  test('apply works with it', async () => {
    lab.write('xdp.yaml', config('192.0.2.3'))
    const words = ['setpriv', '--bounding-set=-all,+bpf,+net_admin,+perfmon,+dac_override', '--inh-caps=-all']
    expect(await lab.xdpWithin(words, 'apply', '--auto-approve')).toMatchObject({ exitCode: 0 })
  })
})

describe('a bpffs that is unmounted', () => {
  const unmount = (): string => `umount --lazy ${lab.bpffs}`
  const remount = (): string => lab.in(lab.host, 'mount', '-t', 'bpf', 'bpf', lab.bpffs)

  /** Checks the second policy, after the programs without pins were replaced. */
  async function reclaimed(): Promise<void> {
    const refused = await lab.xdp('apply', '--auto-approve')
    expect(refused.exitCode).toBe(4)
    expect(refused.stderr).toContain('xdp apply --reclaim')
    await lab.ok('apply', '--auto-approve', '--reclaim')
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
    expect(lab.pins()).toHaveLength(EVERY_PIN)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(1)
  }

  test('after an apply: the policy stays in force, and `apply --reclaim` takes it over', async () => {
    lab.in(lab.host, 'sh', '-c', unmount())
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    const { exitCode, stderr } = await lab.xdp('status')
    expect(stderr).toContain(`mount -t bpf bpf ${lab.bpffs}`)
    expect(exitCode).toBe(69)
    remount()
    lab.write('xdp.yaml', config('192.0.2.3'))
    await reclaimed()
  })

  test('while destroy reads it: destroy does not claim that nothing is left', async () => {
    lab.tool('ip', `mountpoint -q ${lab.bpffs} && ${unmount()}\nexec /usr/sbin/ip "$@"\n`)
    const { exitCode, stderr } = await lab.xdp('destroy', '--auto-approve')
    lab.realTools()
    expect(stderr).toContain('E105')
    expect(exitCode).toBe(69)
    remount()
    lab.write('xdp.yaml', config('192.0.2.3'))
    await reclaimed()
  })

  const POINTS: readonly (readonly [string, string])[] = [
    ['loading', '*loadall*'],
    ['the switch', '*"net attach"*'],
    ['the commit', '*"map update pinned"*gen-2/policy*'],
  ]

  test.each(sample(POINTS, POINTS.length))(
    'before %s: one policy stays in force, and `apply --reclaim` converges',
    async (_, pattern) => {
      lab.write('xdp.yaml', config('192.0.2.3'))
      lab.tool(
        'bpftool',
        `[ "$*" = "-j batch file -" ] || exec /usr/sbin/bpftool "$@"
lines=$(cat)
case "$lines" in ${pattern}) mountpoint -q ${lab.bpffs} && ${unmount()};; esac
printf '%s\\n' "$lines" | /usr/sbin/bpftool -j batch file -
`,
      )
      const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
      expect([1, 3, 69]).toContain(exitCode)
      expect(stderr).not.toMatch(/E999|TypeError/)
      lab.realTools()
      const answers = [
        await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 }),
        await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 }),
      ]
      expect(answers.toSorted()).toEqual([0, 1])
      remount()
      await reclaimed()
    },
  )

  test('--reclaim does not replace a program of another tool', async () => {
    await lab.ok('destroy', '--auto-approve')
    const body = 'SEC("xdp.frags") int foreign_pass(struct xdp_md *ctx) { return XDP_PASS; }'
    const pin = `${lab.bpffs}/foreign`
    lab.in(lab.host, 'bpftool', 'prog', 'load', buildObject(lab.directory, 'foreign_pass', body), pin, 'type', 'xdp')
    lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', 'eth0')
    const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve', '--reclaim')
    expect(stderr).toContain('E200 foreign-program')
    expect(exitCode).toBe(4)
  })
})
