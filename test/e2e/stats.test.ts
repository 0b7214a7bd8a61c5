// `xdp stats` with packets on a link: numbers, metrics checked by Prometheus' own tools, and the live view.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startMetrics } from '../../src/watch/metrics.ts'
import { inDepth } from '../support/depth.ts'
import { ETH0, ETH1, Lab } from '../support/hosts.ts'
import { fetchText, findProgram, freePort, MISSING, serving } from '../support/prometheus.ts'
import { Terminal, whyNoTmux } from '../support/tmux.ts'
import { flood } from '../support/traffic.ts'

const EXAMPLES = fileURLToPath(new URL('../../examples/prometheus', import.meta.url))
const HOST = '192.0.2.1'
const ALLOWED = '192.0.2.2'
const LISTED = '192.0.2.3'
const CONFIG = `version: 1
interfaces: { eth0: {}, eth1: { mode: generic } }
allowlist: [${ALLOWED}]
blocklist:
  - { name: feed, file: feed.txt, max_age: 2d, exclude_private: false }
  - { name: bogons, cidrs: [198.51.100.0/24, 203.0.113.4, 2001:db8:bad::/48] }
`

let lab: Lab
beforeAll(() => {
  lab = new Lab([ETH0, ETH1])
  lab.write('feed.txt', `${LISTED}\n203.0.113.0/30\n`)
  lab.write('xdp.yaml', CONFIG)
})
afterAll(() => lab.close())

interface Counts {
  readonly packets: Readonly<Record<string, number>>
  readonly bytes: Readonly<Record<string, number>>
  readonly reasons: Readonly<Record<string, { readonly packets: number }>>
}
interface Snapshot {
  readonly totals: Counts
  readonly interfaces: readonly (Counts & { readonly name: string })[]
  readonly detached: readonly string[]
  readonly lists: readonly { readonly name: string; readonly packets: number; readonly prefixes: number }[]
  readonly tables: readonly { readonly name: string; readonly used: number; readonly capacity: number }[]
  readonly memory: { readonly policy: number; readonly total: number }
  readonly drift: boolean
  readonly drifted: readonly { readonly key: string }[]
  readonly feeds: readonly { readonly list: string; readonly entries: number; readonly max_age: number | null }[]
}
const snapshot = async (...args: readonly string[]): Promise<Snapshot> =>
  JSON.parse(await lab.ok('stats', '--json', ...args)) as Snapshot
const metrics = (...args: readonly string[]): Promise<string> => lab.ok('stats', '--format', 'prometheus', ...args)
const apply = (): Promise<string> => lab.ok('apply', '--auto-approve')

inDepth('exits 0 with empty output before the first apply', async () => {
  expect(await lab.ok('stats')).toBe('Nothing is applied: this instance has nothing in the kernel.\n')
  expect(await snapshot()).toMatchObject({ interfaces: [], lists: [], tables: [], memory: { total: 0 }, drift: false })
  expect(await metrics()).toContain('\nxdp_generation 0\n')
})

describe('with an applied policy', () => {
  beforeAll(async () => {
    await apply()
    await lab.ok('ban', '203.0.113.99')
    expect(await lab.ping(HOST, { source: ALLOWED, count: 5 })).toBe(5)
    expect(await lab.ping(HOST, { source: LISTED, count: 3 })).toBe(0)
  })

  test('counts like status, packet by packet', async () => {
    const now = await snapshot()
    const status = JSON.parse(await lab.ok('status', '--json')) as Snapshot
    const eth0 = now.interfaces.find(({ name }) => name === 'eth0')
    expect(eth0?.reasons).toMatchObject({ blocklist: { packets: 3 } })
    expect(eth0?.packets['drop']).toBe(3)
    expect(eth0?.reasons['allowlist']?.packets).toBeGreaterThanOrEqual(5)
    expect(now.lists).toMatchObject([
      { name: 'allowlist', prefixes: 1 },
      { name: 'bogons', packets: 0, prefixes: 3 },
      { name: 'feed', packets: 3, prefixes: 2 },
    ])
    expect(now.lists.map(({ packets: _, ...rest }) => rest)).toEqual(
      status.lists.map(({ packets: _, ...rest }) =>
        expect.objectContaining({ name: rest.name, prefixes: rest.prefixes }),
      ),
    )
    expect(status.interfaces.find(({ name }) => name === 'eth0')?.packets['drop']).toBe(3)
    expect(now.tables).toEqual([
      { name: 'interfaces', used: 2, capacity: 63 },
      { name: 'lists', used: 3, capacity: 1024 },
      { name: 'scopes', used: 3, capacity: 65_536 },
      { name: 'classes', used: 3, capacity: 65_535 },
      { name: 'services', used: 0, capacity: 1024 },
      { name: 'backends', used: 0, capacity: 65_535 },
      { name: 'bans', used: 1, capacity: 131_072 },
    ])
    expect(now.memory.policy).toBeGreaterThan(0)
    expect(now.drift).toBe(false)
  })

  test('with -f shows digest, age and feeds of the config, or that it is invalid', async () => {
    const plan = JSON.parse(await lab.ok('plan', '--json')) as { config: { sha256: string } }
    expect(await snapshot('-f', 'xdp.yaml')).toMatchObject({
      config: { path: 'xdp.yaml', sha256: plan.config.sha256, valid: true },
      feeds: [{ list: 'feed', entries: 2, max_age: 172_800 }],
    })
    expect(await snapshot()).toMatchObject({ config: null, feeds: [] })
    lab.write('broken.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklst: []\n')
    const { exitCode, stdout, stderr } = await lab.xdp('stats', '--format', 'prometheus', '-f', 'broken.yaml')
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('did you mean "blocklist"?')])
    expect(stdout).toContain('\nxdp_config_valid 0\n')
    expect(stdout).toContain('\nxdp_packets_total{interface="eth0",verdict="drop",reason="blocklist"} 3\n')
  })

  test('promtool accepts the metrics, the alerts, their tests and the dashboard', async (context) => {
    const promtool = findProgram('promtool')
    if (promtool === undefined) return context.skip(`promtool: ${MISSING}`)
    const check = (args: readonly string[], input = ''): string =>
      execFileSync(promtool, [...args], { input, encoding: 'utf8', stdio: 'pipe' })
    // promtool prints nothing without faults, and exits with a failure otherwise.
    expect(check(['check', 'metrics'], await metrics('-f', 'xdp.yaml'))).toBe('')
    expect(() => check(['check', 'metrics'], 'xdp_wrong{a="b} 1\n')).toThrow('unescaped new-line')
    expect(check(['check', 'config', join(EXAMPLES, 'prometheus.yml')])).toContain('SUCCESS: 1 rule files found')
    expect(check(['test', 'rules', join(EXAMPLES, 'xdp.rules.test.yml')])).toContain('SUCCESS')
    // Turns every expression of the dashboard into a rule, with variables replaced.
    const { panels } = JSON.parse(readFileSync(join(EXAMPLES, 'dashboard.json'), 'utf8')) as {
      panels: { id: number; targets: { refId: string; expr: string }[] }[]
    }
    const expressions = panels.flatMap(({ id, targets }) => targets.map((target) => ({ id, ...target })))
    const rules = expressions.map(({ id, refId, expr }) => {
      const filled = expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, '.*')
      return { record: `panel:${id}:${refId.toLowerCase()}`, expr: filled }
    })
    const file = lab.write('dashboard.yml', JSON.stringify({ groups: [{ name: 'dashboard', rules }] }))
    expect(check(['check', 'rules', file])).toContain(`SUCCESS: ${rules.length} rules found`)
  })

  inDepth('node_exporter reads the written file', async (context) => {
    const exporter = findProgram('prometheus-node-exporter')
    if (exporter === undefined) return context.skip(`node_exporter: ${MISSING}`)
    const file = lab.write('textfiles/xdp.prom', '')
    await metrics('--output', file)
    const url = `http://127.0.0.1:${await freePort()}`
    const args = [
      `--web.listen-address=${new URL(url).host}`,
      '--collector.disable-defaults',
      '--collector.textfile',
      `--collector.textfile.directory=${join(lab.directory, 'textfiles')}`,
    ]
    await serving(exporter, args, async () => {
      await expect.poll(() => fetchText(`${url}/metrics`)).toContain('node_textfile_scrape_error 0')
      const read = await fetchText(`${url}/metrics`)
      expect(read).toContain('xdp_list_packets_total{kind="blocklist",list="feed"} 3')
    })
  })

  inDepth('Prometheus scrapes the endpoint and evaluates the alerts', async (context) => {
    const prometheus = findProgram('prometheus')
    if (prometheus === undefined) return context.skip(`prometheus: ${MISSING}`)
    const server = await startMetrics({ endpoint: { address: '127.0.0.1', port: 0 }, collect: () => metrics() })
    try {
      cpSync(EXAMPLES, join(lab.directory, 'prometheus'), { recursive: true })
      const example = readFileSync(join(EXAMPLES, 'prometheus.yml'), 'utf8')
      const config = example.replaceAll('15s', '5s').replaceAll('127.0.0.1:9469', new URL(server.url).host)
      const file = lab.write('prometheus/prometheus.yml', config)
      const url = `http://127.0.0.1:${await freePort()}`
      const storage = `--storage.tsdb.path=${join(lab.directory, 'tsdb')}`
      const args = [`--config.file=${file}`, storage, `--web.listen-address=${new URL(url).host}`, '--log.level=error']
      const query = async (expr: string): Promise<unknown> =>
        JSON.parse((await fetchText(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`)) ?? '{}')
      await serving(prometheus, args, async () => {
        const drops = 'sum(xdp_packets_total{job="xdp",interface="eth0",verdict="drop"})'
        await expect.poll(() => query(drops)).toMatchObject({ data: { result: [{ value: [expect.anything(), '3'] }] } })
        const rules = JSON.parse((await fetchText(`${url}/api/v1/rules`)) ?? '{}') as {
          data: { groups: { rules: { name: string; health: string; state: string }[] }[] }
        }
        const alerts = rules.data.groups.flatMap((group) => group.rules)
        expect(alerts.length).toBeGreaterThan(5)
        expect(alerts.filter(({ health }) => health === 'err')).toEqual([])
        expect(alerts.filter(({ state }) => state === 'firing')).toEqual([])
      })
    } finally {
      await server.close()
    }
  })

  inDepth('a reader always sees a complete file', async () => {
    const file = lab.write('whole.prom', await metrics())
    const last = 'xdp_stats_duration_seconds'
    let writing = true
    let reads = 0
    const reader = (async () => {
      while (writing) {
        expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^# HELP xdp_build_info[\\s\\S]*\n${last} [\\d.e-]+\n$`))
        reads++
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let i = 0; i < 3; i++) await metrics('--output', file)
    writing = false
    await reader
    expect(reads).toBeGreaterThan(10)
  })

  inDepth('never fails beside an apply, and shows the old policy or the new one', async () => {
    const seen: number[] = []
    let applying = true
    const reader = (async () => {
      while (applying) {
        const { lists } = await snapshot()
        seen.push(lists.length)
      }
    })()
    try {
      for (const text of [CONFIG.replace(/.*bogons.*\n/, ''), CONFIG]) {
        lab.write('xdp.yaml', text)
        await apply()
      }
    } finally {
      applying = false
      await reader
    }
    expect(seen.length).toBeGreaterThan(1)
    expect(seen.filter((count) => count !== 2 && count !== 3)).toEqual([])
  })

  test('reports detached programs and unpinned counters as drift', async () => {
    lab.in(lab.host, 'bpftool', 'net', 'detach', 'xdpgeneric', 'dev', 'eth1')
    rmSync(join(lab.bpffs, 'xdp-as-code/default', `${sharedName()}/list_stats`))
    const now = await snapshot()
    expect(now).toMatchObject({ detached: ['eth1'], drift: true })
    expect(now.drifted.map(({ key }) => key).toSorted()).toEqual(['interface:eth1', 'program'])
    expect(now.lists.find(({ name }) => name === 'feed')?.packets).toBe(3)
    const text = await metrics()
    expect(text).toContain('xdp_interface_attached{interface="eth1"} 0')
    expect(text).toContain('xdp_interface_attached{interface="eth0"} 1')
    expect(text).toContain('\nxdp_drifted_objects 2\n')
    await apply()
    expect(await snapshot()).toMatchObject({ detached: [], drift: false })
  })

  test('is refused from another network namespace', async () => {
    const [, , node, cli, ...rest] = lab.argv('stats') as [string, string, string, string, ...string[]]
    const elsewhere = ['nsenter', `--net=/run/netns/${lab.peer}`, node, cli, ...rest]
    expect(() => execFileSync(elsewhere[0] ?? '', elsewhere.slice(1), { stdio: 'pipe' })).toThrow('E201')
  })
})

/** The directory of the shared maps; its name has the ABI version. */
function sharedName(): string {
  const found = lab.pins().find((pin) => pin.endsWith('/list_stats')) ?? ''
  expect(existsSync(join(lab.bpffs, 'xdp-as-code', found))).toBe(true)
  return found.split('/')[1] ?? ''
}

describe('the live view', () => {
  beforeAll(apply)
  const reason = whyNoTmux()
  let terminal: Terminal | undefined
  afterEach(() => {
    terminal?.close()
    terminal = undefined
  })
  const command = (...args: readonly string[]): string => lab.argv('stats', '--watch', ...args).join(' ')
  const WAIT = { interval: 100 }

  /** Matches a line of output; the shell may have printed its prompt in front of it. */
  const printed = (text: string): RegExp => new RegExp(`^(?:\\$ )?${text}$`, 'm')

  /** Opens the live view in a terminal. */
  async function opened(env: Readonly<Record<string, string>> = {}, ...args: readonly string[]): Promise<Terminal> {
    const made = new Terminal(lab.directory, env)
    terminal = made
    made.line(`echo before; ${command(...args)}; echo status=$?`)
    await expect.poll(() => made.screen(), WAIT).toMatch(/^xdp stats {2}instance default/)
    return made
  }

  /** Checks that the terminal shows its former content and the exit status after the view. */
  async function restored(made: Terminal, status: number): Promise<void> {
    await expect.poll(() => made.screen(), WAIT).toContain(`status=${status}`)
    expect(made.screen()).toMatch(printed('before'))
    expect(made.screen()).not.toContain('q quits')
    expect(made.isTaken()).toBe(false)
    // The shell gets the keys again.
    made.line('echo typed')
    await expect.poll(() => made.screen(), WAIT).toMatch(printed('typed'))
  }

  test('shows rates of real packets, follows the screen size, and quits with q', async (context) => {
    if (reason) return context.skip(reason)
    const made = await opened({}, '--interval', '500ms')
    const traffic = await flood(lab, [{ source: LISTED, target: HOST }])
    try {
      await expect.poll(() => made.screen(), WAIT).toMatch(/^feed +blocklist +2 +[1-9][\d.]*k? /m)
      expect(made.screen()).toMatch(/^eth0 +native +[\d.]+k? +[\d.]+[kM]? +[1-9][\d.]*k? +[\d.]+[kM]$/m)
      expect(made.screen().split('\n')[23]).toBe('q quits   every 500ms')
    } finally {
      await traffic.stop()
    }
    made.resize(60, 10)
    await expect.poll(() => made.screen().split('\n')[9], WAIT).toBe('q quits   every 500ms')
    for (const line of made.screen().split('\n')) expect(line.length).toBeLessThanOrEqual(60)
    made.resize(80, 24)
    await expect.poll(() => made.screen().split('\n')[23], WAIT).toBe('q quits   every 500ms')
    await expect.poll(() => made.screen(), WAIT).toMatch(/^feed +blocklist +2 +0 +0 /m)
    made.keys('q')
    await restored(made, 0)
  })

  test('stops with ^Z, continues with fg, and quits with ^C', async (context) => {
    if (reason) return context.skip(reason)
    const made = await opened()
    made.keys('C-z')
    await expect.poll(() => made.isTaken(), WAIT).toBe(false)
    made.line('fg')
    await expect.poll(() => made.isTaken(), WAIT).toBe(true)
    await expect.poll(() => made.screen(), WAIT).toContain('q quits')
    made.keys('C-c')
    await expect.poll(() => made.isTaken(), WAIT).toBe(false)
    made.line('echo still here')
    await expect.poll(() => made.screen(), WAIT).toMatch(printed('still here'))
  })

  test.for(['TERM', 'INT', 'HUP'])('restores the terminal on SIG%s', async (signal, context) => {
    if (reason) return context.skip(reason)
    const made = await opened()
    const [pid] = execFileSync('pgrep', ['-f', `${lab.bpffs} stats --watch`], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .filter((one) => readFileSync(`/proc/${one}/comm`, 'utf8').trim() === 'node')
    process.kill(Number(pid), `SIG${signal}` as NodeJS.Signals)
    await restored(made, 0)
  })

  inDepth('has colour unless NO_COLOR is set, and prints one snapshot on a dumb terminal', async (context) => {
    if (reason) return context.skip(reason)
    const painted = await opened()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: matches escape sequences
    const paint = /\u001b\[[\d;]*[1-9][\d;]*m/
    expect(painted.screen({ colored: true })).toMatch(paint)
    painted.close()
    const plain = await opened({ NO_COLOR: '1' })
    expect(plain.screen({ colored: true })).not.toMatch(paint)
    plain.close()
    const dumb = new Terminal(lab.directory, { TERM: 'dumb' })
    terminal = dumb
    dumb.line(`${command()} | cat; ${command()} | tail -n 3; echo done`)
    await expect.poll(() => dumb.screen(), WAIT).toMatch(/^done$/m)
    dumb.line(`clear; ${command()}; echo status=$?`)
    await expect.poll(() => dumb.screen(), WAIT).toMatch(/^status=0$/m)
    expect(dumb.screen()).toMatch(/^bans +\d+ +131,072 /m)
    expect(dumb.isTaken()).toBe(false)
  })

  test('prints a snapshot if stdout is not a terminal', async () => {
    expect(await lab.ok('stats', '--watch')).toMatch(/^Generation \d+, applied /)
    expect(JSON.parse(await lab.ok('stats', '--watch', '--json'))).toMatchObject({ format_version: '1.0' })
  })
})
