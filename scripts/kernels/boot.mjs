// Boots a kernel in QEMU once. Emulated, never KVM: a nested machine may have a /dev/kvm that cannot boot a guest.
import { spawn } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'

/**
 * Boots `image` with `initrd`; the output of the serial console also goes to `log`. `limit` is in seconds of wall time.
 * Resolves to `{ output, timedOut }`.
 */
export function boot({ image, initrd, log, limit }) {
  const args = [
    // cx16=off: the emulation of cmpxchg16b in QEMU 7.2 sometimes corrupts the guest's slab allocator.
    ...['-accel', 'tcg,thread=single', '-cpu', 'max,cx16=off', '-smp', '1', '-m', '768', '-machine', 'q35'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', image, '-initrd', initrd],
    // no_timer_check: on a busy host the guest's check of its timer fails, and it panics.
    ...['-append', 'console=ttyS0 quiet panic=-1 no_timer_check rdinit=/init'],
  ]
  writeFileSync(log, '')
  return new Promise((done, reject) => {
    const child = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] })
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
