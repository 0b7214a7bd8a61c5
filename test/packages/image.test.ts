// The image for containers: unpacked by umoci, and run by crun in a network namespace with exactly the capabilities that
// docs/install.md names.
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unpacked } from '../support/debian.ts'
import { built } from '../support/executable.ts'
import { ETH0, Lab } from '../support/hosts.ts'

const CAPABILITIES = ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'] as const
const HOST = '192.0.2.1'
const [LISTED, OTHER] = ['192.0.2.2', '192.0.2.3'] as const
const CONFIG = `version: 1\ninterfaces: { eth0: { mode: native } }\nblocklist: [${LISTED}]\n`

interface Ran {
  readonly exitCode: number
  readonly output: string
}

let lab: Lab
/** Runs `xdp` with these words and capabilities in a container; or why that is not possible. */
let container: ((capabilities: readonly string[], ...words: readonly string[]) => Promise<Ran>) | string = 'not made'
let layout = ''

interface Specification {
  process: { terminal: boolean; args: string[]; capabilities: Record<string, readonly string[]> }
  mounts: { destination: string; type: string; source: string; options: string[] }[]
  linux: { namespaces: { type: string; path?: string }[] }
}

/** Sets what an engine would set for `--network host`, `--cap-drop all --cap-add …` and `--volume`. */
function specify(bundle: string, capabilities: readonly string[], words: readonly string[]): void {
  const file = join(bundle, 'config.json')
  const made = JSON.parse(readFileSync(file, 'utf8')) as Specification
  made.process.terminal = false
  made.process.args = ['xdp', ...words]
  for (const set of ['bounding', 'effective', 'permitted']) made.process.capabilities[set] = capabilities
  for (const set of ['inheritable', 'ambient']) made.process.capabilities[set] = []
  const bind = (source: string, destination: string, ...options: readonly string[]) => ({
    ...{ source, destination, type: 'none', options: ['rbind', ...options] },
  })
  const ours = [bind(lab.bpffs, '/sys/fs/bpf', 'rw'), bind(join(lab.directory, 'etc'), '/etc/xdp', 'ro')]
  const others = made.mounts.filter(({ destination }) => !ours.some((one) => one.destination === destination))
  made.mounts = [...others, ...ours]
  made.linux.namespaces = ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type }))
  made.linux.namespaces.push({ type: 'network', path: `/run/netns/${lab.host}` })
  writeFileSync(file, JSON.stringify(made))
}

beforeAll(async () => {
  lab = new Lab([ETH0])
  const found = unpacked('umoci', 'crun')
  const packages = await built({ image: true })
  if ('reason' in found || typeof packages === 'string') {
    container = 'reason' in found ? found.reason : String(packages)
    return
  }
  layout = join(lab.directory, 'layout')
  mkdirSync(layout)
  mkdirSync(join(lab.directory, 'etc'))
  writeFileSync(join(lab.directory, 'etc/xdp.yaml'), CONFIG)
  execFileSync('tar', ['-xf', packages.image, '--directory', layout])
  const bundle = join(lab.directory, 'bundle')
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: execFileSync('sh', ['-c', `echo ${found.root}/usr/lib/*-linux-gnu`], { encoding: 'utf8' }).trim(),
  }
  execFileSync(join(found.root, 'usr/bin/umoci'), ['unpack', '--image', `${layout}:0.1.0`, bundle], { env })
  let count = 0
  container = async (capabilities, ...words) => {
    specify(bundle, capabilities, words)
    count += 1
    const options = ['--cgroup-manager=disabled', '--root', join(lab.directory, 'crun'), 'run', '--bundle', bundle]
    try {
      const id = `xdp-${process.pid}-${count}`
      const { stdout, stderr } = await promisify(execFile)(join(found.root, 'usr/bin/crun'), [...options, id], { env })
      return { exitCode: 0, output: stdout + stderr }
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
      return { exitCode: code, output: `${stdout}${stderr}` }
    }
  }
})
afterAll(() => lab.close())

test('its layout names one image, whose entry point is xdp', (context) => {
  if (typeof container === 'string') return context.skip(container)
  const read = (path: string) => JSON.parse(readFileSync(join(layout, path), 'utf8'))
  const blob = ({ digest }: { digest: string }) => read(`blobs/${digest.replace(':', '/')}`)
  expect(read('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' })
  const { manifests } = read('index.json')
  expect(manifests).toMatchObject([{ annotations: { 'org.opencontainers.image.ref.name': '0.1.0' } }])
  const image = blob(manifests[0])
  expect(image.layers).toHaveLength(2)
  expect(blob(image.config)).toMatchObject({
    architecture: process.arch === 'x64' ? 'amd64' : 'arm64',
    config: { Entrypoint: ['xdp'], Cmd: ['watch', '--file', '/etc/xdp/xdp.yaml'] },
  })
})

describe('with the network of a host', () => {
  test('three capabilities suffice to plan, apply, show and remove a policy', async (context) => {
    if (typeof container === 'string') return context.skip(container)
    const applied = await container(CAPABILITIES, 'apply', '--auto-approve')
    expect(applied.output).not.toContain('error')
    expect(applied.exitCode).toBe(0)
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(0)
    expect(await lab.ping(HOST, { source: OTHER, count: 1 })).toBe(1)
    const { output } = await container(CAPABILITIES, 'status', '--json')
    expect(JSON.parse(output)).toMatchObject({ generation: 1 })
    expect((await container(CAPABILITIES, 'plan', '--detailed-exitcode')).exitCode).toBe(0)
    expect((await container(CAPABILITIES, 'destroy', '--auto-approve')).exitCode).toBe(0)
    expect(await lab.ping(HOST, { source: LISTED, count: 1 })).toBe(1)
  })

  test.for(CAPABILITIES)('apply fails without %s, and says so', async (missing, { skip }) => {
    if (typeof container === 'string') return skip(container)
    const { exitCode, output } = await container(
      CAPABILITIES.filter((one) => one !== missing),
      ...['apply', '--auto-approve'],
    )
    expect(exitCode).toBe(77)
    expect(output).toContain(missing)
    expect(lab.in(lab.host, 'ip', 'link', 'show', 'eth0')).not.toContain('xdp')
  })
})
