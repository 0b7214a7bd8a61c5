// Runs docs/tutorial.md from its first command to its last, in one shell on a fresh machine.

import { afterAll, beforeAll, expect } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { type Machine, QUICK_ANSIBLE } from '../support/machine.ts'
import { packagedMachine } from '../support/package.ts'
import { isCommand, page, patternOf, stepsOf, withoutPeer } from '../support/pages.ts'

const STEPS = stepsOf(page('tutorial.md')).filter(isCommand)

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
  expect(STEPS.length).toBeGreaterThan(30)
  const mark = '@@@@'
  // Prints the exit status behind a mark, and restores it for a command that reads it.
  const script = STEPS.map(({ command }) => `${command}\n{ status=$?; echo "${mark}$status"; (exit $status); }`)
  machine.write(
    '/srv/admin/tutorial.sh',
    `exec 2>&1 </dev/null\nexport ${QUICK_ANSIBLE.join(' ')}\n${script.join('\n')}\n`,
  )
  const { stdout } = await machine.run('bash', 'tutorial.sh')
  const outputs = stdout.split(new RegExp(`^${mark}(\\d+)\\n`, 'm'))
  STEPS.forEach(({ command, shown }, at) => {
    const [output = '', status] = [withoutPeer(outputs[2 * at] ?? ''), outputs[2 * at + 1]]
    const asked = STEPS[at + 1]?.command === 'echo $?' ? STEPS[at + 1]?.shown[0] : '0'
    expect.soft(status, `$ ${command}\n${output}`).toBe(asked)
    expect.soft(output, `$ ${command}`).toMatch(patternOf(shown))
  })
  expect(lab.pins()).toEqual([])
})
