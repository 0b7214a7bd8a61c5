// Leftover, lost and damaged objects in the bpffs: the next apply or destroy repairs them.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { ABI_VERSION } from '../../src/abi/generated.ts'
import { inDepth, inTurns, sample } from '../support/depth.ts'
import { ETH0, ETH1, EVERY_PIN, Lab } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'

/** Directory of the shared maps. */
const SHARED = `shared-${ABI_VERSION}`

let lab: Lab

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(() => {
  lab.close()
})

const config = (interfaces = 'eth0: {}, eth1: {}', blocked = '192.0.2.2'): string =>
  `version: 1\ninterfaces: { ${interfaces} }\nblocklist: [${blocked}]\n`

const own = (name: string): string => join(lab.bpffs, 'xdp-as-code/default', name)

async function apply(text = config()): Promise<void> {
  lab.write('xdp.yaml', text)
  await lab.ok('apply', '--auto-approve')
}

/** Checks that the live state is in sync, with exactly the pins of one generation, and the policy in force. */
async function settled(): Promise<void> {
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: false, leftovers: [] })
  expect(lab.pins()).toHaveLength(EVERY_PIN)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
}

/** Loads and pins a foreign program; returns its pin. */
function loadForeign(): string {
  const body = 'SEC("xdp.frags") int foreign_pass(struct xdp_md *ctx) { return XDP_PASS; }'
  const object = buildObject(lab.directory, 'foreign_pass', body)
  lab.in(lab.host, 'bpftool', 'prog', 'load', object, `${lab.bpffs}/foreign`, 'type', 'xdp')
  return `${lab.bpffs}/foreign`
}

const programsOn = (device: string): (string | undefined)[] => {
  const [link] = JSON.parse(lab.in(lab.host, 'ip', '-j', '-d', 'link', 'show', 'dev', device))
  return (link.xdp?.attached ?? []).map(({ prog }: { prog: { name?: string } }) => prog.name)
}

/** For commands and batches of bpftool that match the shell pattern, runs `body` before the real one. */
function interpose(pattern: string, body: string): void {
  lab.tool(
    'bpftool',
    `if [ "$*" = "-j batch file -" ]; then
  lines=$(cat)
  case "$lines" in ${pattern}) ${body};; esac
  printf '%s\\n' "$lines" | /usr/sbin/bpftool -j batch file -
  exit $?
fi
case "$*" in ${pattern}) ${body};; esac
exec /usr/sbin/bpftool "$@"
`,
  )
}

inTurns('status and apply work despite a damaged record of the generation', async () => {
  await apply()
  // Line 2 has the generation, the time of the commit, the network namespace and the program.
  const noise = Array.from({ length: 64 }, () => 'a5')
  const key = ['key', '2', '0', '0', '0', 'value', 'hex', ...noise]
  lab.in(lab.host, 'bpftool', 'map', 'update', 'pinned', own('gen-1/policy'), ...key)
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: true })
  await lab.ok('apply', '--auto-approve')
  await settled()
})

const MAPS = sample(['attachments', 'interface_index', 'verdict_stats'], 3)

describe.each(MAPS)('a shared map %s', (map) => {
  inTurns('that was unpinned is drift, and apply creates it again with the program', async () => {
    await apply()
    rmSync(own(`${SHARED}/${map}`))
    expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: true })
    expect(await lab.ok('plan')).toContain(`maps were unpinned: ${map}`)
    await lab.ok('apply', '--auto-approve')
    await settled()
    expect(JSON.parse(await lab.ok('status', '--json')).interfaces[0].packets.drop).toBe(1)
  })
})

const PROGRAMS = ['xdp_filter', 'explain', 'table_read', 'table_write', 'stats_read', 'ban_write', 'table_digest']
const PINS = ['policy', ...PROGRAMS.map((name) => `programs/${name}`)]

describe.each(sample(PINS, PINS.length))('a removed pin of %s', (pin) => {
  inTurns('is drift of our own program, which apply repairs in place', async () => {
    await apply()
    await lab.ok('ban', '192.0.2.3')
    const before = JSON.parse(await lab.ok('status', '--json'))
    rmSync(own(`gen-1/${pin}`))
    const status = JSON.parse(await lab.ok('status', '--json'))
    const name = pin.replace('programs/', '')
    expect(status).toMatchObject({ drift: true, leftovers: [], generation: 1 })
    expect(status.drifted).toEqual([{ key: 'program', what: expect.stringMatching(`unpinned: ${name}$`), by: [] }])
    expect(status.interfaces.map(({ program_id }: { program_id: number }) => program_id)).toEqual(
      before.interfaces.map(({ program_id }: { program_id: number }) => program_id),
    )
    expect(status.lists).toMatchObject(
      before.lists.map(({ name: list }: { name: string }) => ({ name: list, prefixes: 1 })),
    )
    expect(await lab.ok('plan')).toContain(`unpinned: ${name}`)
    // No packet passes the old policy or the new one that both drop.
    interpose('*"net detach"*', 'exit 1')
    const pinging = lab.ping('192.0.2.1', { source: '192.0.2.2', count: 40 })
    await lab.ok('apply', '--auto-approve')
    expect(await pinging).toBe(0)
    lab.realTools()
    await settled()
    expect(JSON.parse(await lab.ok('bans', '--json')).bans).toMatchObject([{ prefix: '192.0.2.3/32' }])
  })
})

inDepth('commands that need a removed pin name it', async () => {
  await apply()
  for (const program of ['explain', 'stats_read']) rmSync(own(`gen-1/programs/${program}`))
  for (const [words, name] of [
    [['why', '192.0.2.2'], 'explain'],
    [['stats'], 'stats_read'],
  ] as const) {
    const { exitCode, stderr } = await lab.xdp(...words)
    expect(stderr).toContain(
      `error[E119 pin-missing]: this needs programs of the applied policy whose pins were removed: ${name}`,
    )
    expect(exitCode).toBe(1)
  }
  await lab.ok('apply', '--auto-approve')
  await settled()
})

describe('an apply whose bpftool only claims', () => {
  const unchanged = async (code: string): Promise<void> => {
    const before = lab.pins()
    lab.write('xdp.yaml', config(undefined, '192.0.2.2, 192.0.2.9'))
    const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
    expect(stderr).toContain(`error[E108 verification-failed]: ${code}`)
    expect(exitCode).toBe(1)
    lab.realTools()
    expect(lab.pins()).toEqual(before)
    lab.write('xdp.yaml', config())
    await settled()
  }

  inDepth('to load programs changes nothing', async () => {
    await apply()
    interpose('*loadall*explain.bpf.o*', 'echo \'[{"command":["prog","loadall"],"output":null}]\'; exit 0')
    await unchanged('bpftool reported success, but did not pin')
  })

  inTurns('to write the commit rolls back', async () => {
    await apply()
    interpose('*"map update pinned"*gen-2/policy*', 'lines=$(printf "%s" "$lines" | sed "s/^map update .*/version/")')
    await unchanged(`${own('gen-2/policy')} does not hold what bpftool wrote to key 2`)
  })
})

inTurns('a program that another tool attaches at the moment of the replacement is attached again', async () => {
  await apply(config('eth0: {}'))
  const pin = loadForeign()
  // The last command before the replacement.
  interpose('*"net show dev eth0"*', `/usr/sbin/bpftool net attach xdpdrv pinned ${pin} dev eth0 overwrite`)
  lab.write('xdp.yaml', config('eth0: {}', '192.0.2.9'))
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(stderr).toMatch(
    /E206 changed-meanwhile\]: another process attached program \d+ to eth0 .* it is attached again/,
  )
  expect(exitCode).toBe(4)
  expect(programsOn('eth0')).toEqual(['foreign_pass'])
  expect(lab.pins().filter((one) => one.includes('gen-2'))).toEqual([])
})

inDepth('unpinned helper programs are drift, and apply loads them again', async () => {
  await apply()
  for (const program of ['table_digest', 'ban_count']) rmSync(own(`gen-1/programs/${program}`))
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: true })
  expect(await lab.ok('plan')).toContain('programs were unpinned: table_digest, ban_count')
  expect((await lab.xdp('bans')).stderr).toContain('E116')
  await lab.ok('apply', '--auto-approve')
  await settled()
  expect(await lab.ok('bans')).toBe('No bans.\n')
})

inDepth('apply completes a partial set of shared maps', async () => {
  mkdirSync(own(SHARED), { recursive: true })
  const shape = ['type', 'percpu_array', 'key', '4', 'value', '16', 'entries', '2048', 'name', 'verdict_stats']
  lab.in(lab.host, 'bpftool', 'map', 'create', own(`${SHARED}/verdict_stats`), ...shape)
  await apply()
  await settled()
})

inDepth('shared maps without a generation, left by a killed destroy, are removed', async () => {
  await apply()
  for (const device of ['eth0', 'eth1']) lab.in(lab.host, 'bpftool', 'net', 'detach', 'xdpdrv', 'dev', device)
  rmSync(own('gen-1'), { recursive: true })
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: false, leftovers: [own(SHARED)] })
  await lab.ok('destroy', '--auto-approve')
  expect(lab.pins()).toEqual([])
})

describe('the pin of a foreign program, left by a killed apply', () => {
  let pin: string
  const keep = (device: string): void => {
    const [{ ifindex }] = JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show', 'dev', device))
    const { id } = JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'prog', 'show', 'pinned', pin))
    mkdirSync(own('.').replace(/\/\.$/, ''), { recursive: true })
    lab.in(lab.host, 'bpftool', 'prog', 'pin', 'id', `${id}`, own(`foreign-${ifindex}`))
  }

  beforeEach(() => {
    pin = loadForeign()
    lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', 'eth0')
  })

  inTurns('does not disturb the next apply', async () => {
    await apply(config('eth1: {}'))
    keep('eth0')
    await apply(config('eth0: { on_conflict: replace }, eth1: {}'))
    expect(programsOn('eth0')).toEqual(['xdp_filter'])
    await settled()
  })

  inDepth('is removed by the next apply with changes', async () => {
    keep('eth0')
    await apply(config('eth1: {}'))
    expect(lab.pins()).toHaveLength(EVERY_PIN)
    expect(programsOn('eth0')).toEqual(['foreign_pass'])
  })
})

describe('the record of an interface', () => {
  inDepth('that is neither on the host nor in the file is removed, and the others stay', async () => {
    await apply()
    const before = JSON.parse(await lab.ok('status', '--json'))
    lab.unplug('eth1')
    await apply(config('eth0: {}'))
    const after = JSON.parse(await lab.ok('status', '--json'))
    expect(after).toMatchObject({ drift: false, generation: before.generation })
    expect(after.interfaces[0].program_id).toBe(before.interfaces[0].program_id)
    await settled()
  })

  inDepth('that was renamed follows the interface', async () => {
    await apply()
    for (const words of [['down'], ['name', 'wan0'], ['up']]) {
      lab.in(lab.host, 'ip', 'link', 'set', words[0] === 'up' ? 'wan0' : 'eth1', ...words)
    }
    await apply(config('eth0: {}, wan0: {}'))
    await settled()
  })

  inDepth('whose ifindex now belongs to another interface does not count its packets', async () => {
    await apply()
    const [{ ifindex }] = JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show', 'dev', 'eth1'))
    lab.unplug('eth1')
    lab.in(lab.host, 'ip', 'link', 'add', 'aaa0', 'index', `${ifindex}`, 'type', 'veth', 'peer', 'name', 'bbb0')
    await apply(config('aaa0: {}, eth0: {}, eth1: { missing: skip }'))
    await settled()
    await apply(config('eth0: {}, aaa0: {}', '192.0.2.2, 192.0.2.9'))
    await settled()
  })
})

inTurns('leaves a program alone that another tool attaches during an apply', async () => {
  await apply(config('eth0: {}'))
  const pin = loadForeign()
  interpose('*loadall*', `/usr/sbin/bpftool net attach xdpdrv pinned ${pin} dev eth1`)
  lab.write('xdp.yaml', config(undefined, '192.0.2.2, 192.0.2.9'))
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(stderr).toContain('E206 changed-meanwhile')
  expect(exitCode).toBe(4)
  expect(programsOn('eth1')).toEqual(['foreign_pass'])
  lab.realTools()
  lab.write('xdp.yaml', config('eth0: {}'))
  await settled()
})

inTurns('a rollback detaches exactly the programs that the apply attached', async () => {
  await apply(config('eth0: {}'))
  const pin = loadForeign()
  const steal = `/usr/sbin/bpftool net attach xdpdrv pinned ${pin} dev eth1`
  interpose('*"net attach xdpdrv"*"dev eth1"*', steal)
  lab.write('xdp.yaml', config())
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(1)
  expect(programsOn('eth1')).toEqual(['foreign_pass'])
  lab.realTools()
  lab.write('xdp.yaml', config('eth0: {}'))
  await settled()
})

inDepth('a failed cleanup after the switch exits 3, and the next apply completes it', async () => {
  await apply()
  interpose('*"net detach"*', 'echo \'{"error":"Device or resource busy"}\'; exit 240')
  lab.write('xdp.yaml', config('eth0: {}', '192.0.2.2, 192.0.2.9'))
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(exitCode).toBe(3)
  expect(stderr).toContain('the new policy is in force, but cleanup failed in part')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  lab.realTools()
  await lab.ok('apply', '--auto-approve')
  expect(programsOn('eth1')).toEqual([])
  await settled()
})

inDepth('an interface that vanishes before its detach counts as detached', async () => {
  await apply()
  interpose('*"net detach"*', `/usr/sbin/ip link del eth1`)
  await apply(config('eth0: {}'))
  lab.realTools()
  await settled()
})

inDepth('a program held by a BPF link is left alone, and reported', async () => {
  const source = lab.write(
    'hold.c',
    `#include <bpf/libbpf.h>
#include <net/if.h>
int main(int argc, char **argv)
{
	struct bpf_object *object = bpf_object__open(argv[1]);
	struct bpf_link *link;

	if (argc < 4 || !object || bpf_object__load(object))
		return 1;
	link = bpf_program__attach_xdp(bpf_object__next_program(object, NULL), if_nametoindex(argv[2]));
	return !link || bpf_link__pin(link, argv[3]);
}
`,
  )
  const hold = join(lab.directory, 'hold')
  execFileSync('clang', ['-o', hold, source, '-lbpf'])
  loadForeign()
  lab.in(lab.host, hold, join(lab.directory, 'foreign_pass.bpf.o'), 'eth0', `${lab.bpffs}/link`)
  for (const mode of ['native', 'generic']) {
    lab.write('xdp.yaml', config(`eth0: { on_conflict: replace, mode: ${mode} }, eth1: {}`))
    const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
    expect(stderr).toContain('a BPF link holds the XDP program')
    expect(exitCode).toBe(4)
    expect([programsOn('eth0'), programsOn('eth1'), lab.pins()]).toEqual([['foreign_pass'], [], []])
  }
})

inDepth('status does not report a running apply as drift', async () => {
  await apply()
  // The commit comes after the switch; there the apply waits until the reader has started.
  const begun = join(lab.directory, 'begun')
  interpose('*"map update pinned"*gen-2/policy*', `: >${begun}; sleep 0.4`)
  lab.write('xdp.yaml', config(undefined, '192.0.2.2, 192.0.2.9'))
  const applied = lab.ok('apply', '--auto-approve')
  await expect.poll(() => existsSync(begun), { interval: 5 }).toBe(true)
  const status = lab.ok('status', '--json')
  lab.realTools()
  expect(JSON.parse(await status)).toMatchObject({ drift: false })
  await applied
  await settled()
})

inDepth(
  'status and why from another network namespace are refused, instead of reporting missing interfaces',
  async () => {
    await apply()
    const here = lab.argv('status')
    for (const words of [['status'], ['why', '192.0.2.2']]) {
      const argv = ['nsenter', `--net=/run/netns/${lab.peer}`, ...here.slice(2, -1), ...words]
      const shell = `cd ${lab.directory}; ${argv.join(' ')} 2>&1; echo "exit status $?"`
      const output = lab.in(lab.peer, 'sh', '-c', shell)
      expect(output).toContain('E201 wrong-namespace')
      expect(output).toContain('exit status 4')
    }
  },
)
