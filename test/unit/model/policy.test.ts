// Every setting of a policy reaches the config, the plan, the digest and the kernel.
import { describe, expect, test } from 'vitest'
import { keysOf } from '../../../src/config/text/words.ts'
import { DEFAULT_POLICY, type Policy, SETTING_NAMES, type SettingName, settingOf } from '../../../src/model/policy.ts'
import { diff } from '../../../src/plan/diff.ts'
import { compileImage, decodeImage } from '../../../src/tables/image/image.ts'
import { imageBytes, imageFrom } from '../../../src/tables/layout/layout.ts'
import { policyDigest } from '../../../src/tables/lines/digest.ts'
import { slotsFor } from '../../support/slots.ts'
import { live, state } from '../../support/states.ts'

/** A value of each setting that is not its initial one. */
const OTHER: Policy = { default: 'drop', flows: 2048 }

const META = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }
const before = state({ policy: 'pass' })
const changing = (name: SettingName): Policy => ({ ...DEFAULT_POLICY, [name]: OTHER[name] })

describe.each(SETTING_NAMES)('%s', (name) => {
  const after = { ...before, policy: changing(name) }

  test('has keys in the config', () => {
    const [outer, inner] = settingOf(name).config
    expect(keysOf([])).toContain(outer)
    expect(keysOf([outer])).toContain(inner)
  })

  test('is planned if it changes', () => {
    const { impact } = settingOf(name)
    expect(diff(after, live({ state: before }))).toMatchObject([{ kind: 'policy', op: 'update', impact }])
  })

  test('changes the digest of the policy', () => {
    expect(policyDigest(changing(name))).not.toBe(policyDigest(DEFAULT_POLICY))
  })

  test('is read back from an image', () => {
    const image = imageBytes(compileImage({ state: after, slots: slotsFor(after), meta: META }))
    expect(decodeImage(imageFrom(image)).policy).toEqual(changing(name))
  })
})
