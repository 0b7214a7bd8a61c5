// The processes that a command starts. Each costs time that no test can measure on a busy machine, so they are counted.

import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

let lab: Lab
beforeAll(async () => {
  lab = new Lab([ETH0])
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [203.0.113.0/24]\n')
  await lab.ok('apply', '--auto-approve')
})
afterAll(() => lab.close())

test('a plan without changes runs ip once and bpftool twice', async () => {
  const log = join(lab.directory, 'started')
  const counted = ['ip', 'bpftool', 'flock', 'ethtool', 'nsenter']
  for (const tool of counted) {
    const path = lab.write(
      tool,
      `#!/bin/sh\necho ${tool} >>${log}\nPATH=/usr/sbin:/usr/bin:/sbin:/bin exec ${tool} "$@"\n`,
    )
    chmodSync(path, 0o755)
  }
  writeFileSync(log, '')
  const { exitCode, stdout } = await lab.xdpWithin(['/usr/bin/env', `XDP_TOOLS_PATH=${lab.directory}`], 'plan')
  expect([exitCode, stdout]).toEqual([0, expect.stringContaining('No changes.')])
  expect(readFileSync(log, 'utf8').trim().split('\n').toSorted()).toEqual(['bpftool', 'bpftool', 'ip'])
})
