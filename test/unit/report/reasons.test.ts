// Every reason that reports can name is documented.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REASONS } from '../../../src/report/reason.ts'

const ROOT = join(import.meta.dirname, '../../..')
const TEXT = ['filter', 'balancing'].map((page) => readFileSync(join(ROOT, `docs/${page}.md`), 'utf8')).join('\n')

test.each(REASONS)('%s stands in docs/filter.md or docs/balancing.md', (reason) => {
  expect(TEXT).toContain(`\`${reason}\``)
})
