// Runs every how-to page from its first command to its last, with the files that it has the reader write.

import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { inDepth, sample } from '../support/depth.ts'
import { isCommand, page, patternOf, stepsOf, withoutPeer } from '../support/pages.ts'
import { Stage } from '../support/stage.ts'

const PAGES = readdirSync(fileURLToPath(new URL('../../docs/howto', import.meta.url))).map((name) => `howto/${name}`)

/** Pages that need more than a host and a client. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  'faq.md': ['tcpdump'],
  'howto/ansible.md': ['ansible-core'],
}

const ALL = [...PAGES, 'faq.md']
const MINE = new Set(sample(ALL, 5))

for (const name of ALL) {
  const text = page(name)
  const steps = stepsOf(text)
  const boots = /^(?:client)?\$ .*\bsystemctl\b/m.test(text)
  const isSlow = boots || name in PACKAGES
  const play = isSlow ? inDepth : test.runIf(MINE.has(name))
  play(`${name}: every command has the output shown on the page`, async (context) => {
    const stage = await Stage.make({ backends: text.includes('web1'), boots, packages: PACKAGES[name] ?? [] })
    if (typeof stage === 'string') return context.skip(stage)
    try {
      for (const step of steps) {
        if (!isCommand(step)) {
          stage.machine.write(step.path, step.text)
          continue
        }
        const { command, shown } = step
        const { stdout, exitCode } = await stage.run(step)
        const isChecked = shown.length > 0
        expect.soft(withoutPeer(stdout), `$ ${command}`).toMatch(patternOf(shown))
        // A command that shows nothing has to succeed.
        if (!isChecked) expect.soft(exitCode, `$ ${command}\n${stdout}`).toBe(0)
      }
    } finally {
      await stage.close()
    }
  })
}

test('a how-to page has a task: its title, files and commands', () => {
  for (const name of PAGES) {
    expect(page(name), name).toMatch(/^# [A-Z]/)
    expect(stepsOf(page(name)).filter(isCommand).length, name).toBeGreaterThan(1)
  }
})

test('every command of a how-to page and of the FAQ stands in a block that this test runs', () => {
  for (const name of ALL) {
    expect(page(name), name).not.toMatch(/^```(?:sh|bash|shell)$/m)
    expect(page(name), name).not.toMatch(/^```\n(?:xdp|\$) /m)
  }
})
