// Configs that `xdp import` makes of whole rulesets, with the losses that it reports; UPDATE_GOLDEN=1 writes the current ones.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Ignorable, SourceName } from '../../src/import/source.ts'
import { captured, composeAll, importText, load, losses } from '../support/import.ts'

const CASES: readonly (readonly [name: string, from: SourceName, ignore: readonly Ignorable[]])[] = [
  ['server-nft.json', 'nft', ['state', 'fragments']],
  ['meters-nft.json', 'nft', ['state', 'fragments']],
  ['antiddos-iptables-save.txt', 'iptables', ['state', 'fragments']],
]

test.each(CASES)('%s', async (name, from, ignore) => {
  const imported = importText(from, captured(name), { ignore })
  const composed = composeAll(imported, from)
  await load(composed)
  const shown = [composed.config, ...losses(imported).map((line) => `# lost: ${line}\n`)].join('')
  const golden = join(import.meta.dirname, 'import', `${name.replace(/\..*/, '')}.yaml`)
  if (process.env['UPDATE_GOLDEN']) writeFileSync(golden, shown)
  expect(existsSync(golden) ? readFileSync(golden, 'utf8') : '').toBe(shown)
})
