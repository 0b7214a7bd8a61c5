// The file of a saved plan: what is written is read again, and anything else is refused with one error.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Code, XdpError } from '../../../src/diagnostics.ts'
import type { SavedPlan } from '../../../src/model/saved-plan.ts'
import { openPlan, sealPlan, wasPlan } from '../../../src/saved/saved-plan.ts'
import { usually } from '../../support/depth.ts'
import { check } from '../../support/schemas.ts'

const HEX = 'a'.repeat(64)

const PLAN: Omit<SavedPlan, 'sha256'> = {
  createdAt: '2026-11-29T18:00:00.000Z',
  config: { path: '/etc/xdp/xdp.yaml', sha256: HEX },
  inputs: [
    { kind: 'config', path: 'xdp.yaml', sha256: HEX },
    { kind: 'blocklist', path: 'lists/ä.txt', sha256: HEX },
  ],
  accepted: {
    shrink: true,
    growth: false,
    removed: true,
    blocked: false,
    wide: false,
    cuts: ['gateway', '192.0.2.0/24'],
  },
  host: {
    name: 'edge-1',
    bootId: '0c0ffee0-0000-4000-8000-000000000000',
    netns: '4026531840',
    bpffs: '/sys/fs/bpf',
    instance: 'default',
  },
  build: { version: '0.1.0', abi: 2, digest: 'b'.repeat(32) },
  live: [
    { kind: 'generation', name: '', value: '7' },
    { kind: 'programs', name: 'eth0', value: 'id 9 of generation 7 (native)' },
  ],
  changes: [{ key: 'list:blocklist', op: 'update', sha256: HEX }],
}
const SHOWN = {
  changes: [],
  drift: [],
  summary: { create: 0, update: 0, delete: 0, replace: 0, prefixes_added: 0, prefixes_removed: 0 },
  warnings: [],
}

const { text, sha256 } = sealPlan(PLAN, SHOWN)
const bytesOf = (one: string): Uint8Array => new TextEncoder().encode(one)

function codeOf(one: string | Uint8Array): Code | undefined {
  try {
    openPlan('plan.json', typeof one === 'string' ? bytesOf(one) : one)
    return undefined
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    expect(error.diagnostics).toHaveLength(1)
    return error.diagnostics[0]?.code
  }
}

/** The text of the document after a change, with the digest of before. */
function changed(change: (document: Record<string, unknown>) => void): string {
  const document = JSON.parse(text)
  change(document)
  return JSON.stringify(document)
}

test('is read as it was written, and has the published form', () => {
  expect(openPlan('plan.json', bytesOf(text))).toEqual({ ...PLAN, sha256 })
  check('saved-plan', text)
})

test('survives other spaces and another order of keys', () => {
  const reordered = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reordered)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, field]) => [key, reordered(field)]),
    )
  }
  expect(openPlan('plan.json', bytesOf(JSON.stringify(reordered(JSON.parse(text)))))).toEqual({ ...PLAN, sha256 })
})

test.each<[string, string | Uint8Array, Code]>([
  ['nothing', '', 'E240'],
  [
    'a deep list',
    `{"format_version": "1.0", "kind": "xdp-saved-plan", "plan": ${'['.repeat(1e5)}${']'.repeat(1e5)}}`,
    'E240',
  ],
  ['a config', 'version: 1\n', 'E240'],
  ['bytes', Uint8Array.of(0xff, 0xfe, 0), 'E240'],
  ['a list', '[]', 'E240'],
  ['a number', '7', 'E240'],
  ['null', 'null', 'E240'],
  ['another document', '{"format_version":"1.0","changes":[]}', 'E240'],
  ['a cut plan', text.slice(0, 500), 'E240'],
  ['no version', changed((document) => delete document['format_version']), 'E240'],
  ['a strange version', changed((document) => Object.assign(document, { format_version: 'one' })), 'E240'],
  ['a later format', changed((document) => Object.assign(document, { format_version: '2.0' })), 'E243'],
  ['no inputs', changed((document) => delete document['inputs']), 'E240'],
  [
    'an unknown fact',
    changed((document) => Object.assign(document, { live: [{ kind: 'x', name: '', value: '' }] })),
    'E240',
  ],
  ['a later minor format', changed((document) => Object.assign(document, { format_version: '1.7' })), 'E241'],
  ['another config', changed((document) => Object.assign(document, { config: { path: '/x', sha256: HEX } })), 'E241'],
  ['another plan for readers', changed((document) => Object.assign(document, { plan: {} })), 'E241'],
])('%s is refused', (_, one, code) => {
  expect(codeOf(one)).toBe(code)
})

test('no change of one byte is taken for the plan, and none is a bug', () => {
  const bytes = bytesOf(text)
  const places = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }))
  fc.assert(
    fc.property(places, ([at, mask]) => {
      const edited = Uint8Array.from(bytes)
      edited[at] = (edited[at] as number) ^ mask
      const code = codeOf(edited)
      // Spaces between values mean nothing.
      const isSame =
        code === undefined &&
        JSON.stringify(JSON.parse(new TextDecoder().decode(edited))) === JSON.stringify(JSON.parse(text))
      expect(isSame || ['E240', 'E241', 'E243'].includes(code ?? '')).toBe(true)
    }),
    { numRuns: usually(300, { thoroughly: 20_000 }) },
  )
})

test('a damaged or later plan is still known as one, and other files are not', () => {
  expect(wasPlan(bytesOf(text.slice(0, 500)))).toBe(true)
  expect(wasPlan(bytesOf('version: 1\n'))).toBe(false)
})
