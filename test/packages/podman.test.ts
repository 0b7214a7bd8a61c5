// The image in a real engine: the lines of docs/install.md for containers, with podman of Debian. It is unpacked, not installed,
// and runs in mount and process namespaces with their own /etc, /run and /var/lib, so that nothing is left.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpacked } from '../support/debian.ts'
import { built } from '../support/executable.ts'
import { capture, ETH0, Lab, type Output } from '../support/hosts.ts'

const PAGE = readFileSync(resolve(import.meta.dirname, '../../docs/install.md'), 'utf8')
const HOST = '192.0.2.1'
const [LISTED, OTHER] = ['192.0.2.2', '192.0.2.3'] as const
const config = (blocked: string) => `version: 1\ninterfaces: { eth0: { mode: native } }\nblocklist: [${blocked}]\n`

/** The blocks of commands of the section, in their order. */
const BLOCKS = [
  ...PAGE.replace(/^[\s\S]*?^## Containers$|^## One file$[\s\S]*/gm, '').matchAll(/^```sh\n(.*?)^```$/gms),
].map(([, block = '']) => block)
const [START = '', PROFILE = '', STOP = ''] = BLOCKS

/**
 * Prepares the namespaces: $1 is the root of unpacked packages, $2 a directory. Their libraries lie over those of this host,
 * where the processes that podman starts find them. crun refuses hosts with two hierarchies of control groups.
 */
const SETUP = `set -e
tools=$1; dir=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$dir/layers"
over() { mkdir -p "$dir/layers/$2/upper" "$dir/layers/$2/work"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$dir/layers/$2/upper,workdir=$dir/layers/$2/work" "$3"; }
for usr in usr/bin usr/sbin usr/lib usr/share usr/libexec; do
  [ -d "$tools/$usr" ] && [ -d "/$usr" ] && over "$tools/$usr:/$usr" "$(basename $usr)" "/$usr"
done
over /etc etc /etc; over /var var /var
mount -t tmpfs tmpfs /run
mount --bind "$BPFFS" /sys/fs/bpf
umount /sys/fs/cgroup/unified 2>/dev/null || :
mkdir -p /etc/containers /etc/xdp /etc/tmpfiles.d
cp "$dir/xdp.yaml" /etc/xdp/
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
echo 'unqualified-search-registries = []' > /etc/containers/registries.conf
printf '[storage]\\ndriver = "vfs"\\nrunroot = "/run/podman"\\ngraphroot = "%s/images"\\n' "$dir" > /etc/containers/storage.conf
cat > /etc/containers/containers.conf <<EOF
[containers]
default_ulimits = ["nofile=$(ulimit -n):$(ulimit -Hn)", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
EOF
echo ready
exec cat`

let lab: Lab
let holder: ChildProcess | undefined
/** Runs lines in the namespaces; or why that is not possible. */
let shell: ((lines: string) => Promise<Output>) | string = 'not made'

beforeAll(async () => {
  lab = new Lab([ETH0])
  const found = unpacked('podman', 'crun', 'jq')
  const packages = await built({ image: true })
  if ('reason' in found || typeof packages === 'string') {
    shell = 'reason' in found ? found.reason : String(packages)
    return
  }
  for (const name of ['layers', 'images']) execFileSync('mkdir', [join(lab.directory, name)])
  writeFileSync(join(lab.directory, 'xdp.yaml'), config(LISTED))
  execFileSync('ln', ['-s', packages.image, join(lab.directory, 'xdp-as-code-0.1.0-oci-amd64.tar')])
  const spaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  const argv = [
    `--net=/run/netns/${lab.host}`,
    'unshare',
    ...spaces,
    'sh',
    '-c',
    SETUP,
    'sh',
    found.root,
    lab.directory,
  ]
  holder = spawn('nsenter', argv, { stdio: 'pipe', env: { ...process.env, BPFFS: lab.bpffs } })
  let said = ''
  holder.stderr?.on('data', (data) => {
    said += data
  })
  const ready = await Promise.race([once(holder.stdout as NodeJS.ReadableStream, 'data'), once(holder, 'close')])
  if (!String(ready[0]).includes('ready')) {
    shell = `no namespaces for podman here: ${said.trim()}`
    return
  }
  const pid = execFileSync('ps', ['-o', 'pid=', '--ppid', `${holder.pid}`], { encoding: 'utf8' }).trim()
  const enter = ['--target', pid, '--mount', '--pid', '--net', `--wd=${lab.directory}`]
  shell = (lines) => capture('nsenter', [...enter, 'env', 'HOME=/root', 'sh', '-ec', lines])
})
afterAll(async () => {
  if (holder && holder.exitCode === null) {
    const closed = once(holder, 'close')
    holder.stdin?.end()
    await closed
  }
  lab.close()
})

const pings = async (): Promise<readonly number[]> => [
  await lab.ping(HOST, { source: LISTED, count: 1 }),
  await lab.ping(HOST, { source: OTHER, count: 1 }),
]

test('the image runs by the lines of the page, follows an edit, and ends by them', async (context) => {
  if (typeof shell === 'string') return context.skip(shell)
  const run = async (lines: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await (shell as (text: string) => Promise<Output>)(lines)
    expect([lines, exitCode, stderr]).toEqual([lines, 0, stderr])
    return stdout
  }
  expect(BLOCKS).toHaveLength(3)
  await run(PROFILE)
  const profiled = (block: string) =>
    block.replace('podman run', 'podman run --security-opt seccomp=/etc/xdp/seccomp.json')
  // Machines without systemd have no systemd-tmpfiles.
  const directories = 'mkdir --mode 0700 --parents /run/xdp /var/lib/xdp'
  await run(profiled(START).replace(/^systemd-tmpfiles .*$/m, directories))
  await expect.poll(pings).toEqual([0, 1])
  const status = JSON.parse(await run('podman exec xdp xdp status --json'))
  expect(status).toMatchObject({ interfaces: [{ name: 'eth0', mode: 'native' }], drift: false })
  await run(`cat > /etc/xdp/xdp.yaml <<'EOF'\n${config(OTHER)}EOF`)
  await expect.poll(pings).toEqual([1, 0])
  await run('podman stop xdp')
  expect(await pings()).toEqual([1, 0])
  await run(profiled(STOP).replace('podman stop xdp\n', ''))
  expect(await pings()).toEqual([1, 1])
})
