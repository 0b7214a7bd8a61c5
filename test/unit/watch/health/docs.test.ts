// The example in docs/health.md is a valid config that checks all of its backends.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { targetsOf } from '../../../../src/watch/health/targets.ts'
import { loadText } from '../../../support/config.ts'

const TEXT = readFileSync(join(import.meta.dirname, '../../../../docs/health.md'), 'utf8')

test('the example loads, and every backend has its check', async () => {
  const example = /```yaml\n([\s\S]*?)```/.exec(TEXT)?.[1] ?? ''
  const { desired } = await loadText(example)
  const source = { health: desired.health, isReachable: () => true, leaving: [] }
  const web = targetsOf({ ...source, services: desired.state.services.values() }).get('web')
  expect(web).toMatchObject({ minHealthy: { kind: 'share', value: 0.5 }, fallback: 'keep_last' })
  const ports = [...(web?.backends ?? [])].map(([key, { check }]) => [
    key,
    check?.type,
    (check as { port: number }).port,
  ])
  expect(ports).toEqual([
    ['10.0.0.11', 'https', 443],
    ['10.0.0.12', 'https', 443],
    ['10.0.0.13', 'https', 8443],
  ])
})
