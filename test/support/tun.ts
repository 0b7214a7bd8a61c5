// A tun device with a process behind it that sends and receives its packets.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/**
 * Opens the device ($ARGV[0]), reports `ready`, then sends each line of hex as a packet and reports each packet as a line
 * of hex. TUNSETIFF with IFF_TUN | IFF_NO_PI of linux/if_tun.h.
 */
const SCRIPT = `use strict; use IO::Select; $| = 1;
open(my $tun, '+<', '/dev/net/tun') or die "open: $!";
ioctl($tun, 0x400454ca, pack('Z16 s x22', $ARGV[0], 0x1001)) or die "ioctl: $!";
print "ready\\n";
my $select = IO::Select->new($tun, \\*STDIN);
while (1) {
  for my $from ($select->can_read) {
    if ($from == $tun) { sysread($tun, my $packet, 65536); print unpack('H*', $packet), "\\n"; next }
    exit 0 unless sysread(STDIN, my $text, 65536);
    syswrite($tun, pack('H*', $_)) for split /\\n/, $text;
  }
}`

export class Tun {
  readonly #child: ChildProcessWithoutNullStreams
  readonly received: string[] = []

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
  }

  /** Creates a tun device in a namespace. It exists until `close`. */
  static async open(netns: string, name: string): Promise<Tun> {
    const child = spawn('nsenter', [`--net=/run/netns/${netns}`, 'perl', '-e', SCRIPT, name], { stdio: 'pipe' })
    const tun = new Tun(child)
    let said = ''
    child.stderr.on('data', (data) => {
      said += data
    })
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error(said)))
      createInterface(child.stdout).on('line', (line) => {
        if (line === 'ready') resolve()
        else tun.received.push(line)
      })
    })
    return tun
  }

  /** Hands a packet, from its IP header on, to the kernel. */
  send(packet: Uint8Array): void {
    this.#child.stdin.write(`${Buffer.from(packet).toString('hex')}\n`)
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}
