// Every setting of a policy reaches the config, the plan, the digest and the kernel.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { keysOf } from '../../../src/config/text/words.ts'
import { DEFAULT_POLICY, type Policy, SETTING_NAMES, type SettingName, settingOf } from '../../../src/model/policy.ts'
import { diff } from '../../../src/plan/diff.ts'
import { compileImage, decodeImage } from '../../../src/tables/image/image.ts'
import { imageBytes, imageFrom } from '../../../src/tables/layout/layout.ts'
import { policyDigest } from '../../../src/tables/lines/digest.ts'
import { slotsFor } from '../../support/slots.ts'
import { live, state } from '../../support/states.ts'

interface ConfigSchema {
  readonly properties: Readonly<Record<string, { readonly properties?: Readonly<Record<string, Key>> }>>
}
interface Key {
  readonly enum?: readonly unknown[]
  readonly examples?: readonly unknown[]
}

const CONFIG: ConfigSchema = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../schemas/xdp.schema.json'), 'utf8'),
)

/** A value other than the initial one, from the words or examples of the config's schema. */
function otherThanInitial(name: SettingName): unknown {
  const { config, initial, round = (written) => written } = settingOf(name)
  const [outer, inner = ''] = config
  // Read from entries of the config, not from a value of one key.
  if (name === 'protect') return ['10.0.0.0/8 tcp 22', '10.0.0.0/8 udp 0', '192.0.2.9', '2001:db8::1-2001:db8::9 icmp']
  if (name === 'anomalies')
    return ['land', 'bogons observe on eth0', 'ip_options observe', 'tiny_fragments on eth0 eth1']
  if (name === 'syn_protection') return 'auto 2000 443,8000-8099'
  const key = CONFIG.properties[outer]?.properties?.[inner]
  const other = [...(key?.enum ?? []), ...(key?.examples ?? [])].map(round).find((value) => value !== initial)
  if (other === undefined) throw new Error(`${config.join('.')} has no example besides its default`)
  return other
}

const META = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }
const before = state({ policy: 'pass' })
const changing = (name: SettingName): Policy => ({ ...DEFAULT_POLICY, [name]: otherThanInitial(name) })

describe.each(SETTING_NAMES)('%s', (name) => {
  const after = { ...before, policy: changing(name) }

  test('has keys in the config', () => {
    const [outer, inner] = settingOf(name).config
    expect(keysOf([])).toContain(outer)
    if (inner !== undefined) expect(keysOf([outer])).toContain(inner)
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
