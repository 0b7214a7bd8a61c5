// npm run demo: a real session on a private stage. Two namespaces joined by a cable, a real xdp.yaml, real packets:
// plan → apply → the ping stops → nothing left to change → counters → edit → apply → destroy.
//
// With --picture: the session of docs/demo.svg, with the first config of the README.
//
// The script runs in separate namespaces (network and mounts, with a separate bpffs and /run). They end with it,
// however it ends, and the machine stays untouched.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { whyNoBpf } from './lib/host.mjs'
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { setup } from './setup.mjs'

const SERVER = '198.51.100.1'
const CLIENT = '198.51.100.42'
const CONFIG = `version: 1

interfaces:
  eth0:
    mode: native

blocklist:
  - ${CLIENT}
  - { name: dns-amplification, cidrs: [203.0.113.0/24], protocol: udp, source_port: 53 }
`

const color = (process.stdout.isTTY || process.env.FORCE_COLOR === '1') && !process.env.NO_COLOR
const dim = (text) => (color ? `\x1b[2m${text}\x1b[0m` : text)
const bold = (text) => (color ? `\x1b[1m${text}\x1b[0m` : text)

/** Commands that build the stage; they run in the server's namespace, "client" is the other one. */
const STAGE = `
set -e
mount -t tmpfs tmpfs /run && mkdir /run/netns
mount -t bpf bpf /sys/fs/bpf
ip netns add client
ip link set lo up
ip link add eth0 type veth peer name eth0 netns client
ip addr add ${SERVER}/24 dev eth0 && ip link set eth0 up
ip -n client addr add ${CLIENT}/24 dev eth0 && ip -n client link set eth0 up
`

function shell(script, options) {
  return spawnSync('sh', ['-c', script], { stdio: ['ignore', 'inherit', 'inherit'], ...options })
}

/** Announces the scene, shows the command, runs it, and ends the demo on an unexpected result. */
function scene(directory, { say, command, client = false, fails = false }) {
  console.log(say ? `\n${dim(`# ${say}`)}` : '')
  console.log(`${bold(client ? 'client$' : 'server$')} ${command}`)
  const { status, signal } = shell(client ? `nsenter --net=/run/netns/client ${command}` : command, {
    cwd: directory,
    env: {
      ...process.env,
      PATH: `${directory}/bin:${process.env.PATH}`,
      STATE_DIRECTORY: `${directory}/state`,
      ...(color ? { FORCE_COLOR: '1' } : {}),
    },
  })
  if (signal) throw new ScriptError(`interrupted by ${signal}`)
  if ((status !== 0) !== fails) throw new ScriptError(`${command} ended with status ${status}`)
}

const PING = `ping -c 1 -W 1 -q ${SERVER}`
const LOSS = `ping -c 1 -W 1 ${SERVER} | grep loss`
const PICTURE = [
  { command: LOSS, client: true },
  { command: 'xdp apply --auto-approve | tail -1' },
  { command: LOSS, client: true },
  { command: `xdp why ${CLIENT}` },
]
const SCENES = [
  { say: 'A client can reach this server:', command: PING, client: true },
  { say: 'This is the file; the plan lists the changes that apply would make:', command: 'cat xdp.yaml' },
  { command: 'xdp plan' },
  { say: 'Apply it. xdp reads the result back and verifies it with packets:', command: 'xdp apply --auto-approve' },
  {
    say: 'The client is on the blocklist, so its packets now end in the driver:',
    command: PING,
    client: true,
    fails: true,
  },
  { say: 'The kernel matches the file, and another apply would change nothing:', command: 'xdp plan' },
  { say: 'Counters show the dropped packets, by reason and by list:', command: 'xdp status' },
  { command: `xdp why ${CLIENT}` },
  {
    say: 'Edit the file: let the client in, block another network.',
    command: `sed -i s,${CLIENT},192.0.2.0/24, xdp.yaml`,
  },
  { command: 'xdp apply --auto-approve' },
  { say: 'The switch was one kernel operation; the client is back:', command: PING, client: true },
  { say: 'Remove everything that is ours:', command: 'xdp destroy --auto-approve' },
]

/** The first config of the README. */
const readmeConfig = () => /```yaml\n(.*?)```/s.exec(readFileSync(at('README.md'), 'utf8'))[1]

function play(directory, which) {
  const built = shell(STAGE)
  if (built.status !== 0) throw new ScriptError('creating the namespaces for the demo failed')
  mkdirSync(join(directory, 'bin'))
  symlinkSync(at('dist/xdp.js'), join(directory, 'bin/xdp'))
  writeFileSync(join(directory, 'xdp.yaml'), which === '--picture' ? readmeConfig() : CONFIG)
  for (const one of which === '--picture' ? PICTURE : SCENES) scene(directory, one)
}

/** Runs this script again on a new stage; resolves to its exit status. */
function perform(which) {
  // A terminal signals the child too, which ends; this process stays to clean up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})
  const directory = mkdtempSync(join(tmpdir(), 'xdp-demo-'))
  try {
    const own = [process.execPath, at('scripts/demo.mjs'), '--on-stage', directory, which]
    return spawnSync('unshare', ['--mount', '--net', '--propagation', 'private', ...own], { stdio: 'inherit' }).status
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main(async () => {
  const [mode = '', directory, which] = process.argv.slice(2)
  if (mode === '--on-stage') return play(directory, which)
  await setup()
  const reason = await whyNoBpf()
  if (reason) throw new ScriptError(`the demo attaches real programs: ${reason}`)
  await run(process.execPath, ['scripts/build.mjs'])
  process.exitCode = perform(mode) ?? 1
  return undefined
})
