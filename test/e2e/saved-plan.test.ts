// Saved plans: a reviewed plan is applied as it is or not at all, and a refusal names what has moved.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ABI_VERSION } from '../../src/abi/generated.ts'
import { EXIT } from '../../src/diagnostics.ts'
import { inDepth, sample } from '../support/depth.ts'
import { ETH0, ETH1, Lab } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'
import { check } from '../support/schemas.ts'

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0, ETH1])
})
afterAll(() => lab.close())

/** Writes a config with a list file and an included file. */
function write({ directory = '.', blocked = '198.51.100.7', more = '' } = {}): void {
  const lines = ['version: 1', 'include: [conf.d/*.yaml]', 'interfaces: { eth0: {} }', more]
  lab.write(
    `${directory}/xdp.yaml`,
    `${lines.filter(Boolean).join('\n')}\nblocklist:\n  - { name: feed, file: lists/a.txt }\n`,
  )
  lab.write(`${directory}/conf.d/more.yaml`, 'allowlist: [203.0.113.1]\n')
  lab.write(`${directory}/lists/a.txt`, `192.0.2.2\n${blocked}\n`)
}

const path = (name: string): string => join(lab.directory, name)

const refused = async (...args: readonly string[]) => {
  const pins = lab.pins()
  const { exitCode, stdout } = await lab.xdp(...args, '--json')
  check('error', stdout)
  expect(lab.pins()).toEqual(pins)
  const { errors } = JSON.parse(stdout) as { errors: { code: string; message: string }[] }
  return { exitCode, errors: errors.map(({ code, message }) => `${code} ${message}`) }
}

test('a saved plan is a private file, and is applied without a question', async () => {
  write()
  const text = await lab.ok('plan', '--out', 'first.json')
  expect(text).toMatch(/Saved to first\.json\. To apply exactly this plan: xdp apply first\.json\n$/)
  expect(statSync(path('first.json')).mode & 0o777).toBe(0o600)
  const saved = check('saved-plan', readFileSync(path('first.json'), 'utf8')) as Record<string, never>
  expect(saved).toMatchObject({
    config: { path: path('xdp.yaml') },
    inputs: [
      { kind: 'config', path: 'xdp.yaml' },
      { kind: 'included', path: 'conf.d/more.yaml' },
      { kind: 'blocklist', path: 'lists/a.txt' },
    ],
    accepted: { shrink: false, growth: false, removed: false, blocked: false, wide: false, cuts: [] },
    host: { bpffs: lab.bpffs, instance: 'default' },
    build: { abi: ABI_VERSION },
    plan: { summary: { create: 5 } },
  })

  const key = '0123456789abcdef0123456789abcdef'
  write({ more: `balancer: { hash_key: ${key} }` })
  await lab.ok('plan', '--out', 'secret.json')
  expect(readFileSync(path('secret.json'), 'utf8')).not.toContain(key)
  write()

  const out = await lab.ok('apply', 'first.json')
  expect(out).toContain('Applied 5 changes.')
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)

  // Its own apply is another one that it does not know.
  expect(await refused('apply', 'first.json')).toEqual({
    exitCode: EXIT.refused,
    errors: ['E244 generation 1 is live, was 0: there was another apply or a destroy'],
  })
})

describe('a plan that has become stale', () => {
  const moves: readonly [string, { move: () => void; undo: () => void; says: readonly (string | RegExp)[] }][] = [
    [
      'by an edit of the config',
      {
        move: () => write({ blocked: '198.51.100.8', more: 'policy: { unparsed: drop }' }),
        undo: () => write({ blocked: '198.51.100.8' }),
        says: ['E244 the config xdp.yaml changed since the plan was made'],
      },
    ],
    [
      'by another content of a list',
      {
        move: () => write({ blocked: '198.51.100.9' }),
        undo: () => write({ blocked: '198.51.100.8' }),
        says: ['E244 the blocklist file lists/a.txt changed since the plan was made'],
      },
    ],
    [
      'by a list that is gone, and a config that is none any more',
      {
        move: () => {
          rmSync(path('lists/a.txt'))
          writeFileSync(path('conf.d/more.yaml'), 'allowlist: [')
        },
        undo: () => write({ blocked: '198.51.100.8' }),
        says: [
          'E244 the included file conf.d/more.yaml changed since the plan was made',
          'E244 the blocklist file lists/a.txt is gone, or cannot be read',
        ],
      },
    ],
    [
      'by another file that a pattern finds',
      {
        move: () => lab.write('conf.d/new.yaml', 'allowlist: [203.0.113.2]\n'),
        undo: () => rmSync(path('conf.d/new.yaml')),
        says: ['E244 the included file conf.d/new.yaml is new since the plan was made'],
      },
    ],
    [
      'by a foreign program in place of ours',
      {
        move: () => {
          const body = 'SEC("xdp.frags") int other(struct xdp_md *ctx) { return XDP_PASS; }'
          const object = buildObject(lab.directory, 'other', body)
          lab.in(lab.host, 'bpftool', 'prog', 'load', object, path('bpffs/other'), 'type', 'xdp')
          attach(path('bpffs/other'))
        },
        undo: () => {
          attach(ours())
          rmSync(path('bpffs/other'))
        },
        says: [
          /^E244 eth0 has another program \(id \d+ other \(native, tag [0-9a-f]{16}\), was id \d+ of generation 1 \(native\)\)$/,
          'E244 interface:eth0 drifted: another program was attached in place of ours',
        ],
      },
    ],
    [
      'by a detached program',
      {
        move: () => lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'xdpdrv', 'off'),
        undo: () => attach(ours()),
        says: [/^E244 eth0 has lost its program \(id \d+ of generation 1/, /^E244 interface:eth0 drifted: detached/],
      },
    ],
    [
      'by another MAC address of its interface',
      {
        move: () => lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:07'),
        undo: () => lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'address', mac),
        says: [/^E244 interface eth0 changed: .*MAC 02:00:00:00:00:07/],
      },
    ],
    [
      'by a map that another one has replaced under its name',
      {
        move: () => {
          const pin = shared('verdict_stats')
          lab.in(lab.host, 'mv', pin, path('bpffs/kept'))
          lab.in(
            lab.host,
            'bpftool',
            'map',
            'create',
            pin,
            ...['type', 'array', 'key', '4', 'value', '8'],
            ...['entries', '1', 'name', 'mine'],
          )
        },
        undo: () => {
          rmSync(shared('verdict_stats'))
          lab.in(lab.host, 'mv', path('bpffs/kept'), shared('verdict_stats'))
        },
        says: [/^E244 the map verdict_stats is another one \(id \d+, was id \d+\)$/],
      },
    ],
  ]

  const shared = (name: string): string => path(`bpffs/xdp-as-code/default/shared-${ABI_VERSION}/${name}`)
  const ours = (): string => path('bpffs/xdp-as-code/default/gen-1/programs/xdp_filter')
  const attach = (pin: string): string =>
    lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', 'eth0', 'overwrite')
  let mac = ''

  beforeAll(async () => {
    mac = (JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show', 'dev', 'eth0')) as [{ address: string }])[0].address
    write({ blocked: '198.51.100.8' })
    await lab.ok('plan', '--out', 'plan.json')
  })

  test.each(sample(moves, 2))('%s is refused, naming that', async (_, { move, undo, says }) => {
    move()
    try {
      const { exitCode, errors } = await refused('apply', 'plan.json')
      expect(errors).toEqual(says.map((one) => (typeof one === 'string' ? one : expect.stringMatching(one))))
      expect(exitCode).toBe(EXIT.refused)
    } finally {
      undo()
    }
  })

  test('is applied once everything is as it was, whatever packets, bans and other devices do', async () => {
    await lab.ok('ban', '203.0.113.77')
    await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })
    lab.in(lab.host, 'ip', 'link', 'add', 'br9', 'type', 'bridge')
    const { plan, changed } = JSON.parse(await lab.ok('apply', 'plan.json', '--json'))
    expect(changed).toBe(true)
    expect(plan).toEqual({
      path: 'plan.json',
      sha256: JSON.parse(readFileSync(path('plan.json'), 'utf8')).sha256,
      accepted: [],
    })
  })
})

test('a plan of another instance, namespace or format, and an edited one, is refused', async () => {
  write({ blocked: '198.51.100.10' })
  await lab.ok('plan', '--out', 'here.json')
  const instance = await refused('apply', 'here.json', '--instance', 'other')
  expect(instance).toEqual({
    exitCode: EXIT.refused,
    errors: ['E242 the plan is for instance default, and this command works on other'],
  })
  const netns = await lab.xdpWithin(['nsenter', `--net=/run/netns/${lab.peer}`], 'apply', 'here.json')
  expect(netns.exitCode).toBe(EXIT.refused)
  expect(netns.stderr).toMatch(/E242.*made in network namespace \d+, and this command runs in \d+/)

  const text = readFileSync(path('here.json'), 'utf8')
  writeFileSync(path('edited.json'), text.replaceAll('198.51.100.10', '198.51.100.11'))
  expect((await refused('apply', 'edited.json')).errors).toEqual(['E241 edited.json was changed after it was saved'])
  writeFileSync(path('future.json'), text.replace('"format_version": "1.0"', '"format_version": "2.0"'))
  expect(await refused('apply', 'future.json')).toEqual({
    exitCode: EXIT.refused,
    errors: ['E243 future.json has format 2.0, and this xdp reads 1.x'],
  })
  // Other spaces and another order of keys are no edit.
  writeFileSync(path('same.json'), JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse())))
  await lab.ok('apply', 'same.json')
})

test('a file that is no plan gets one clear error', async () => {
  await lab.ok('plan', '--out', 'whole.json')
  const whole = readFileSync(path('whole.json'), 'utf8')
  lab.write('cut.json', whole.slice(0, whole.length >> 1))
  lab.write('huge.json', '')
  truncateSync(path('huge.json'), 2 ** 30)
  mkdirSync(path('directory'))
  execFileSync('mkfifo', [path('fifo')])
  const cases: readonly [string, number, string][] = sample(
    [
      ['xdp.yaml', EXIT.badConfig, 'E240 xdp.yaml is not a saved plan: it is not JSON'],
      ['cut.json', EXIT.badConfig, 'E240 cut.json is not a saved plan: it is damaged or cut off'],
      ['huge.json', EXIT.badConfig, 'E003 huge.json is larger than 64 MiB'],
      ['directory', EXIT.noInput, 'E002 directory is a directory'],
      ['fifo', EXIT.noInput, 'E002 fifo is a FIFO'],
      ['/dev/zero', EXIT.noInput, 'E002 /dev/zero is a device'],
      ['missing.json', EXIT.noInput, 'E001 missing.json does not exist'],
    ],
    2,
  )
  for (const [file, exitCode, message] of cases)
    expect(await refused('apply', file)).toEqual({ exitCode, errors: [message] })
})

test('flags that do not go with a saved plan are refused, and no other file is overwritten', async () => {
  const usage = async (...args: readonly string[]) => {
    const { exitCode, errors } = await refused(...args)
    expect([errors, exitCode]).toEqual([[expect.stringMatching(/^E300/)], EXIT.usage])
  }
  await usage('plan', '--out', 'x.json', '--target', 'policy')
  for (const flag of sample(
    ['--accept-shrink', '--accept-growth', '--accept-removed', '--accept-wide', '--reclaim', '--wait-interfaces=1s'],
    2,
  ))
    await usage('apply', 'whole.json', flag)
  expect(existsSync(path('x.json'))).toBe(false)

  const config = readFileSync(path('xdp.yaml'), 'utf8')
  expect(await refused('plan', '--out', 'xdp.yaml')).toEqual({
    exitCode: EXIT.refused,
    errors: ['E402 xdp.yaml exists and is not a saved plan'],
  })
  expect(readFileSync(path('xdp.yaml'), 'utf8')).toBe(config)
  const { errors } = await refused('plan', '--out', 'no/such/folder.json')
  expect(errors).toEqual([expect.stringMatching(/^E405 cannot write no\/such\/folder\.json/)])
})

test('guards are still asked', async () => {
  lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.3')
  write({ blocked: '192.0.2.3' })
  const plan = JSON.parse(await lab.ok('plan', '--out', 'cut.json', '--json'))
  check('plan', JSON.stringify(plan))
  expect(plan.warnings).toMatchObject([{ code: 'W250' }])
  expect(JSON.parse(readFileSync(path('cut.json'), 'utf8')).plan).not.toHaveProperty('cuts')
  const { exitCode, errors } = await refused('apply', 'cut.json')
  expect([errors, exitCode]).toEqual([[expect.stringMatching(/^E227/)], EXIT.refused])
  const warned = JSON.parse(await lab.ok('plan', '--out', 'force.json', '--force-cut', '--json'))
  expect(warned.warnings).toMatchObject([{ code: 'W250' }])
  const applied = await lab.ok('apply', 'cut.json', '--allow-cut', 'gateway', '--json')
  expect(check('apply', applied)).toMatchObject({ plan: { accepted: [] } })
  lab.in(lab.host, 'ip', 'route', 'del', 'default')
})

test('a plan carries what its review accepted: limits, a gateway, and no more', async () => {
  write({ blocked: '198.51.100.30' })
  await lab.ok('apply', '--auto-approve')
  lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.3')
  write({ blocked: '192.0.2.0/24', more: 'limits: { widest: { v4: 25, v6: 19 } }' })
  expect(await refused('plan', '--out', 'wide.json')).toEqual({
    exitCode: EXIT.refused,
    errors: [expect.stringMatching(/^E247.*192\.0\.2\.0\/24/)],
  })
  expect(existsSync(path('wide.json'))).toBe(false)
  const accepting = ['--accept-wide', '--allow-cut', 'gateway']
  const text = await lab.ok('plan', '--out', 'wide.json', ...accepting)
  expect(text).toContain('Saved to wide.json. It accepts: --accept-wide, --allow-cut gateway.')
  check('saved-plan', readFileSync(path('wide.json'), 'utf8'))
  expect(await lab.ok('apply', 'wide.json')).toContain(
    'Accepted by the review of wide.json: --accept-wide, --allow-cut gateway\n',
  )
  lab.in(lab.host, 'ip', 'route', 'del', 'default')
})

inDepth(
  'an apply of a saved plan waits for its confirmation, and a plan made meanwhile cannot be applied',
  async () => {
    write({ blocked: '198.51.100.20' })
    await lab.ok('plan', '--out', 'confirm.json')
    const applied = JSON.parse(await lab.ok('apply', 'confirm.json', '--confirm', '10m', '--json'))
    check('apply', JSON.stringify(applied))
    expect(applied.pending_confirmation).toMatchObject({ guarded: true })

    write({ blocked: '198.51.100.12' })
    const pending = JSON.parse(await lab.ok('plan', '--out', 'pending.json', '--json'))
    expect(pending.warnings.map(({ code }: { code: string }) => code)).toEqual(['W245', 'W249'])
    expect((await refused('apply', 'pending.json')).errors).toEqual([expect.stringMatching(/^E230/)])
    await lab.ok('confirm')
    expect((await refused('apply', 'pending.json')).errors).toEqual([
      expect.stringMatching(/^E244 the confirmation [0-9a-f]{8}, which was pending, has ended/),
    ])
  },
)

test('a plan is reviewed in one directory and applied with the same files in another', async () => {
  write({ directory: 'review', blocked: '198.51.100.13' })
  write({ directory: 'live', blocked: '198.51.100.13' })
  await lab.ok('plan', '-f', 'review/xdp.yaml', '--out', 'review.json')
  write({ directory: 'live', blocked: '198.51.100.14' })
  expect((await refused('apply', 'review.json', '-f', 'live/xdp.yaml')).errors).toEqual([
    'E244 the blocklist file lists/a.txt changed since the plan was made',
  ])
  write({ directory: 'live', blocked: '198.51.100.13' })
  await lab.ok('apply', 'review.json', '-f', 'live/xdp.yaml')
  const { last_apply } = JSON.parse(await lab.ok('status', '--json'))
  expect(last_apply).toMatchObject({ result: 'applied', config: { path: path('live/xdp.yaml') } })
})
