// xdp doctor and the queues of a veth: its finding is what the kernel does, and its fix makes the kernel accept native XDP.

import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'

let lab: Lab
beforeEach(() => {
  lab = new Lab([ETH0])
})
afterEach(() => lab.close())

interface Finding {
  readonly id: string
  readonly level: string
  readonly message: string
  readonly fix: string | null
}

async function nativeOf(name: string): Promise<Finding> {
  const { stdout, stderr } = await lab.xdp('doctor', '--json')
  const { checks } = JSON.parse(stdout) as { checks: Finding[] }
  const found = checks.find(({ id }) => id === `interface.${name}.native`)
  if (!found) throw new Error(`no finding about ${name}: ${stderr}`)
  return found
}

const shell = (command: string): string => lab.in(lab.host, 'sh', '-c', command)

function attaches(pin: string): boolean {
  try {
    lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', 'dev0')
    return true
  } catch {
    return false
  }
}

test('fewer receive queues than the peer transmits through rule native XDP out, until the fix is run', async () => {
  shell('ip link add dev0 numrxqueues 4 numtxqueues 4 type veth peer name dev1 numrxqueues 4 numtxqueues 4')
  shell('ethtool -L dev0 rx 2 && ethtool -L dev1 tx 4 && ip link set dev0 up && ip link set dev1 up')
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { dev0: { mode: native } }\nblocklist: [192.0.2.2]\n')
  const pin = join(lab.bpffs, 'foreign')
  const source = 'SEC("xdp.frags") int foreign_pass(struct xdp_md *ctx) { return XDP_PASS; }'
  lab.in(lab.host, 'bpftool', 'prog', 'load', buildObject(lab.directory, 'xdp_pass', source), pin, 'type', 'xdp')

  const refused = await nativeOf('dev0')
  expect(refused).toMatchObject({ level: 'fail', fix: 'ethtool -L dev0 rx 4' })
  expect(refused.message).toContain('2 receive queues, fewer than the 4 transmit queues of its peer dev1')
  expect(attaches(pin)).toBe(false)

  shell(refused.fix ?? 'false')
  expect((await nativeOf('dev0')).level).toBe('ok')
  expect(attaches(pin)).toBe(true)
})
