// A tun device with a process behind it that sends and receives its packets.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/**
 * Opens the device ($ARGV[0]), reports `ready`, then sends each line of hex as a packet and reports each packet as a line
 * of hex. TUNSETIFF with the flags $ARGV[1] of linux/if_tun.h.
 */
const SCRIPT = `use strict; use IO::Select; $| = 1;
open(my $tun, '+<', '/dev/net/tun') or die "open: $!";
ioctl($tun, 0x400454ca, pack('Z16 s x22', $ARGV[0], $ARGV[1])) or die "ioctl: $!";
print "ready\\n";
my $select = IO::Select->new($tun, \\*STDIN);
while (1) {
  for my $from ($select->can_read) {
    if ($from == $tun) { sysread($tun, my $packet, 65536); print unpack('H*', $packet), "\\n"; next }
    exit 0 unless sysread(STDIN, my $text, 65536);
    syswrite($tun, pack('H*', $_)) for split /\\n/, $text;
  }
}`

/** IFF_TUN, and IFF_NO_PI: no struct tun_pi before packets. */
const IFF_TUN = 0x0001
const IFF_NO_PI = 0x1000

export class Tun {
  readonly #child: ChildProcessWithoutNullStreams
  readonly received: string[] = []

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
  }

  /**
   * Creates a tun device in a namespace. It exists until `close`. `hasInformation`: a struct tun_pi is before each packet,
   * sent or received: 16 bits of flags, 16 of the ethertype.
   */
  static async open(netns: string, name: string, { hasInformation = false } = {}): Promise<Tun> {
    const flags = `${hasInformation ? IFF_TUN : IFF_TUN | IFF_NO_PI}`
    const child = spawn('nsenter', [`--net=/run/netns/${netns}`, 'perl', '-e', SCRIPT, name, flags], { stdio: 'pipe' })
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
