// Runs docs/tutorial.md from its first command to its last, in one shell on a fresh machine.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { type Machine, QUICK_ANSIBLE } from '../support/machine.ts'
import { packagedMachine } from '../support/package.ts'

const TUTORIAL = readFileSync(fileURLToPath(new URL('../../docs/tutorial.md', import.meta.url)), 'utf8')

interface Step {
  readonly command: string
  /** The output lines on the page. */
  readonly shown: readonly string[]
}

/** Every `$ ` line of the console blocks, with its `> ` lines and the output under it. */
function stepsOf(page: string): Step[] {
  const blocks = [...page.matchAll(/^```console\n(.*?)^```$/gms)].map(([, block = '']) => block)
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .filter((part) => part !== '')
      .map((part) => {
        const [first = '', ...rest] = part.trimEnd().split('\n')
        const more = rest.filter((line) => /^>( |$)/.test(line)).map((line) => line.slice(2))
        return { command: [first, ...more].join('\n'), shown: rest.filter((line) => !/^>( |$)/.test(line)) }
      }),
  )
}

/** `…` matches any part of a line; alone on a line it matches any lines. */
function patternOf(shown: readonly string[]): RegExp {
  const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const lines = shown.map((line) =>
    line === '…' ? '(?:[^\\n]*\\n)*' : `${line.split('…').map(escaped).join('[^\\n]*')}\\n`,
  )
  return new RegExp(`^${lines.join('')}$`)
}

/** Removes the warning about the veth peer, which only test hosts have. */
const withoutPeer = (text: string): string => text.replace(/^\S+: warning\[W201(?:.*\n)*?hint: .*\n\n?/m, '')

let lab: Lab
let machine: Machine | string = 'not made'

beforeAll(async () => {
  lab = new Lab()
  machine = await packagedMachine(lab, ['ansible-core'])
  if (typeof machine === 'string') return
  await machine.boot()
})
afterAll(async () => {
  if (typeof machine !== 'string') await machine.close()
  lab.close()
})

inDepth('every command has the status and output shown on the page', async (context) => {
  if (typeof machine === 'string') return context.skip(machine)
  const steps = stepsOf(TUTORIAL)
  expect(steps.length).toBeGreaterThan(30)
  const mark = '@@@@'
  // Prints the exit status behind a mark, and restores it for a command that reads it.
  const script = steps.map(({ command }) => `${command}\n{ status=$?; echo "${mark}$status"; (exit $status); }`)
  machine.write(
    '/srv/admin/tutorial.sh',
    `exec 2>&1 </dev/null\nexport ${QUICK_ANSIBLE.join(' ')}\n${script.join('\n')}\n`,
  )
  const { stdout } = await machine.run('bash', 'tutorial.sh')
  const outputs = stdout.split(new RegExp(`^${mark}(\\d+)\\n`, 'm'))
  steps.forEach(({ command, shown }, at) => {
    const [output = '', status] = [withoutPeer(outputs[2 * at] ?? ''), outputs[2 * at + 1]]
    const asked = steps[at + 1]?.command === 'echo $?' ? steps[at + 1]?.shown[0] : '0'
    expect.soft(status, `$ ${command}\n${output}`).toBe(asked)
    expect.soft(output, `$ ${command}`).toMatch(patternOf(shown))
  })
  expect(lab.pins()).toEqual([])
})
