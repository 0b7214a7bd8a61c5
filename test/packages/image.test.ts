// The image for containers: unpacked by umoci, and run as a container engine would with the flags of docs/install.md: with its
// own root, mounts and processes, the network of the host, and exactly the capabilities named there. podman.test.ts has an engine.
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

/** Shell with the root of the image as $1: mounts, and then the command behind `--` with the capabilities $2. */
const ENTER = `set -e
root=$1; capabilities=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind "$BPFFS" "$root/sys/fs/bpf"
mount -t tmpfs tmpfs "$root/dev"
for device in null urandom; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mkdir -p "$root/etc/xdp"
mount --bind -o ro "$CONFIGS" "$root/etc/xdp"
exec chroot "$root" setpriv --no-new-privs --inh-caps=-all --bounding-set="$capabilities" "$@"`

beforeAll(async () => {
  lab = new Lab([ETH0])
  const found = unpacked('umoci')
  const packages = await built({ image: true })
  if ('reason' in found || typeof packages === 'string') {
    container = 'reason' in found ? found.reason : String(packages)
    return
  }
  layout = join(lab.directory, 'layout')
  const configs = join(lab.directory, 'etc')
  for (const directory of [layout, configs]) mkdirSync(directory)
  writeFileSync(join(configs, 'xdp.yaml'), CONFIG)
  execFileSync('tar', ['-xf', packages.image, '--directory', layout])
  const bundle = join(lab.directory, 'bundle')
  execFileSync(join(found.root, 'usr/bin/umoci'), ['unpack', '--image', `${layout}:xdp-as-code:0.1.0`, bundle], {
    stdio: 'ignore',
  })
  container = async (capabilities, ...words) => {
    const set = ['-all', ...capabilities.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)].join(',')
    const spaces = ['unshare', '--mount', '--pid', '--fork', '--ipc', '--uts', '--kill-child']
    const argv = [`--net=/run/netns/${lab.host}`, ...spaces, 'sh', '-c', ENTER, 'sh', join(bundle, 'rootfs'), set]
    const env = { PATH: process.env['PATH'], BPFFS: lab.bpffs, CONFIGS: configs }
    try {
      const { stdout, stderr } = await promisify(execFile)('nsenter', [...argv, 'xdp', ...words], { env })
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
  expect(manifests).toMatchObject([{ annotations: { 'org.opencontainers.image.ref.name': 'xdp-as-code:0.1.0' } }])
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
    expect(JSON.parse(output)).toMatchObject({ interfaces: [{ name: 'eth0', mode: 'native' }] })
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
    expect(output).toContain(`this is root without ${missing}: start the container with --cap-add ${missing.slice(4)}`)
    expect(lab.in(lab.host, 'ip', 'link', 'show', 'eth0')).not.toContain('prog/xdp')
  })
})
