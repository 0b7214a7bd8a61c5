// The list of what the executable contains, from the notices that it ships.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { NODE_VERSION } from '../../scripts/package/node.mjs'
import { bundledPackages, sbomOf } from '../../scripts/package/sbom.mjs'

const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))
const NOTICES = `xdp-as-code contains these packages.

@scope/one 1.2.3 (BlueOak-1.0.0)

Copyright 2020 somebody (and others)

--------

two 0.4.1 (MIT)

MIT License
`

test('packages are read from the notices, and no line of a licence is one', () => {
  expect(bundledPackages(NOTICES)).toEqual([
    { name: '@scope/one', version: '1.2.3', license: 'BlueOak-1.0.0' },
    { name: 'two', version: '0.4.1', license: 'MIT' },
  ])
})

test('the document names Node, every package and every file, and equal input gives an equal one', () => {
  const make = () => sbomOf(manifest, NOTICES, 1_700_000_000, [['xdp-as-code_0.1.0_amd64.deb', 'ab12']])
  const sbom = make()
  expect(sbom).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.5' })
  expect(sbom.components.map(({ purl }) => purl)).toEqual([
    `pkg:generic/node@${NODE_VERSION}`,
    'pkg:npm/%40scope/one@1.2.3',
    'pkg:npm/two@0.4.1',
  ])
  expect(sbom.metadata.component.components).toMatchObject([{ name: 'xdp-as-code_0.1.0_amd64.deb' }])
  expect(sbom.metadata.timestamp).toBe('2023-11-14T22:13:20.000Z')
  expect(JSON.stringify(make())).toBe(JSON.stringify(sbom))
})
