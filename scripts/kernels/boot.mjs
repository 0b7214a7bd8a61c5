// Boots a kernel in QEMU once. Emulated, never KVM: a nested machine may have a /dev/kvm that cannot boot a guest.
import { spawn } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { attempt } from '../lib/run.mjs'

/** The machine of each architecture, in Debian's words. */
const MACHINES = {
  amd64: {
    qemu: 'qemu-system-x86_64',
    // cx16=off: the emulation of cmpxchg16b in QEMU 7.2 sometimes corrupts the guest's slab allocator.
    args: ['-machine', 'q35', '-cpu', 'max,cx16=off'],
    // no_timer_check: on a busy host the guest's check of its timer fails, and it panics.
    append: 'console=ttyS0 no_timer_check',
  },
  arm64: {
    qemu: 'qemu-system-aarch64',
    args: ['-machine', 'virt', '-cpu', 'cortex-a72'],
    append: 'console=ttyAMA0',
  },
}

/** Receive and transmit queues of each network interface: two for each CPU, one of them for XDP. */
const QUEUES = 2

/**
 * Makes taps in a network namespace that ends with the command that follows: interfaces 0 and 2 are on one wire, 1 and 3 on
 * another.
 */
const WIRES = `set -e
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
for wire in 0 1; do
	ip link add wire$wire type bridge
	ip link set wire$wire up
	for tap in $wire $((wire + 2)); do
		ip tuntap add dev tap$tap mode tap multi_queue
		ip link set tap$tap master wire$wire up
	done
done
exec "$@"`

/** The MAC address of a network interface of the guest. */
export const macOf = (number) => `02:00:5e:20:00:0${number}`

/** Why such interfaces cannot be made here; undefined if they can. */
export async function whyNoWires() {
  const { status, output } = await attempt('unshare', ['--net', 'sh', '-c', WIRES, 'sh', 'true'])
  return status === 0 ? undefined : `no taps for the interfaces of a guest: ${output.trim().split('\n')[0]}`
}

function wired(cpus) {
  const queues = QUEUES * cpus
  return [0, 1, 2, 3].flatMap((i) => [
    ...['-netdev', `tap,id=wire${i},ifname=tap${i},script=no,downscript=no,vhost=off,queues=${queues}`],
    '-device',
    `virtio-net-pci,netdev=wire${i},mac=${macOf(i)},mq=on,vectors=${2 * queues + 2},romfile=`,
  ])
}

/**
 * Boots `image` with `initrd`; the output of the serial console also goes to `log`. `limit` is in seconds of wall time,
 * `memory` in MiB; `wires`: with four virtio_net interfaces of several queues. Resolves to `{ output, timedOut }`.
 */
export function boot({ image, initrd, log, limit, architecture = 'amd64', cpus = 1, memory = 768, wires = false }) {
  const { qemu, args: machine, append } = MACHINES[architecture]
  const command = [
    qemu,
    ...['-accel', 'tcg,thread=single', '-smp', `${cpus}`, '-m', `${memory}`, ...machine],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', image, '-initrd', initrd, '-append', `${append} quiet panic=-1 rdinit=/init`],
    ...(wires ? wired(cpus) : []),
  ]
  const [file, ...args] = wires ? ['unshare', '--net', 'sh', '-c', WIRES, 'sh', ...command] : command
  writeFileSync(log, '')
  return new Promise((done, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, limit * 1000)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
        appendFileSync(log, text)
      })
    }
    child.on('error', reject)
    child.on('close', () => {
      clearTimeout(timer)
      done({ output: output.replaceAll('\r', ''), timedOut })
    })
  })
}
