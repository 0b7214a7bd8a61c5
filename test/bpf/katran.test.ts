// Katran's own packets, if available: each must have the outcome that Katran expects, or a line of docs/katran.md with
// the reason and the outcome instead. Fields that depend on the hash (backend, outer source) are masked.
// KATRAN_FIXTURES names the file; by default it is looked for beside the checkout. Nothing of it is part of this
// project.

import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Service } from '../../src/model/service.ts'
import type { State } from '../../src/model/state.ts'
import { DataPlane, type Outcome } from '../support/bpf.ts'
import { networkOf, placeAt, wrongChecksums } from '../support/checksums.ts'
import { addressesOf } from '../support/forwarding.ts'
import { address, backend, balancing, EGRESS, OUTER, service } from '../support/services.ts'

const ROOT = new URL('../../', import.meta.url)
const FILE = process.env['KATRAN_FIXTURES'] ?? fileURLToPath(new URL('../shared/peers/katran-fixtures.json', ROOT))
const DOCUMENT = fileURLToPath(new URL('docs/katran.md', ROOT))

interface Fixture {
  readonly fixture: string
  readonly n: number
  readonly description: string
  readonly action: string
  readonly in_b64: string
  readonly out_b64: string
}

const isThere = existsSync(FILE)
const fixtures = isThere ? (JSON.parse(readFileSync(FILE, 'utf8')) as readonly Fixture[]) : []

const REALS = { 4: ['10.0.0.1', '10.0.0.2', '10.0.0.3'], 6: ['fc00::1', 'fc00::2', 'fc00::3'] } as const
const GUE_PORT = 9886
/**
 * Next hop of frames to backends in Katran's fixtures: back out of the receiving interface, to the configured gateway.
 */
const HOP = { ...EGRESS, ifindex: 1, mac: '0000deadbeaf', sourceMac: '020000000000' }

const FIXED = { v4: { address: address('10.0.13.37'), length: 32 }, v6: address('fc00:2307::') }

/** The VIPs that the fixtures assume. */
function provisioned(forwarding: 'ipip' | 'gue'): State {
  const of = (at: string, protocol: 'tcp' | 'udp', family: 4 | 6): Service =>
    service(`${protocol}-${at.replace(' ', '-')}`, at, {
      protocol,
      forwarding,
      guePort: GUE_PORT,
      // With GUE the fixtures' outer source is a single address.
      outerSource: forwarding === 'gue' ? FIXED : OUTER,
      backends: REALS[family].map((real) => backend(real, { nextHop: HOP })),
    })
  return balancing([
    of('10.200.1.1 80', 'udp', 4),
    of('10.200.1.1 80', 'tcp', 4),
    of('10.200.1.2 any', 'tcp', 4),
    of('10.200.1.4 any', 'tcp', 4),
    of('10.200.1.3 80', 'tcp', 6),
    of('fc00:1::1 80', 'tcp', 6),
    of('10.200.1.5 443', 'udp', 4),
    of('fc00:1::2 443', 'udp', 6),
    of('10.200.1.6 80', 'udp', 4),
    { ...of('10.200.1.99 80', 'tcp', 4), backends: [] },
    { ...of('fc00:1::11 80', 'udp', 6), backends: [] },
  ])
}

/** Fixture sets for features that we have. docs/katran.md lists the other sets. */
const SETS: Readonly<Record<string, 'ipip' | 'gue'>> = {
  testFixtures: 'ipip',
  gueTestFixtures: 'gue',
  icmpTooBigTestFixtures: 'ipip',
  tprTestFixtures: 'ipip',
  tprGueTestFixtures: 'gue',
}

const ACTIONS: Readonly<Record<Outcome['verdict'], string>> = {
  aborted: 'XDP_ABORTED',
  drop: 'XDP_DROP',
  pass: 'XDP_PASS',
  tx: 'XDP_TX',
  redirect: 'XDP_REDIRECT',
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Describes a frame without the fields that depend on the hash. */
function shapeOf(frame: Uint8Array): Readonly<Record<string, unknown>> {
  const at = networkOf(frame)
  if (at === undefined) return { bytes: hex(frame) }
  const outer = placeAt(frame, at)
  const view = new DataView(frame.buffer, frame.byteOffset)
  const isTunnel = [4, 41].includes(outer.protocol)
  const isGue = outer.protocol === 17 && view.getUint16(outer.transport + 2) === GUE_PORT
  if (!isTunnel && !isGue) return { bytes: hex(frame) }
  const { source, destination } = addressesOf(frame, outer)
  const inner = isGue ? outer.transport + 8 : outer.transport
  return {
    link: hex(frame.subarray(0, at)),
    family: outer.family,
    tos: outer.family === 4 ? view.getUint8(at + 1) : (view.getUint16(at) >>> 4) & 255,
    ttl: view.getUint8(at + (outer.family === 4 ? 8 : 7)),
    id: outer.family === 4 ? view.getUint16(at + 4) : 0,
    protocol: outer.protocol,
    length: outer.end - at,
    // The fixed prefix, without the bits of the flow.
    source: outer.family === 4 ? (source.words[0] as number) >>> 16 : [...source.words.subarray(0, 2)].join(),
    isReal: destination.words.length > 0,
    ...(isGue ? { port: view.getUint16(outer.transport + 2), size: view.getUint16(outer.transport + 4) } : {}),
    inner: hex(frame.subarray(inner)),
  }
}

/** Lines of the document: `| SET #N | action | reason |`. */
function divergences(): ReadonlyMap<string, string> {
  const lines = readFileSync(DOCUMENT, 'utf8').matchAll(/^\| `(\w+)` ([#\d, ]+) \| `(XDP_\w+)`/gm)
  return new Map(
    [...lines].flatMap(([, set, numbers, action]) =>
      [...(numbers as string).matchAll(/\d+/g)].map(([number]): [string, string] => [
        `${set} #${number}`,
        action as string,
      ]),
    ),
  )
}

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

describe.each(Object.entries(SETS))('%s', (set, forwarding) => {
  const cases = fixtures.filter(({ fixture }) => fixture === set)

  test('every packet has Katran’s outcome, or the one in docs/katran.md', async (context) => {
    if (!isThere) context.skip(`there are no fixtures of Katran at ${FILE}`)
    plane.forget()
    await plane.loadState(provisioned(forwarding))
    const frames = cases.map(({ in_b64 }) => Uint8Array.from(Buffer.from(in_b64, 'base64')))
    const outcomes = await plane.run(
      frames.map((frame) => ({ frame })),
      'filter',
    )
    const documented = divergences()
    const found = cases.map(({ n, description, action, out_b64 }, i) => {
      const { verdict, output } = outcomes[i] as Outcome
      const wanted = Uint8Array.from(Buffer.from(out_b64, 'base64'))
      // Some packets arrive with wrong checksums; no checksum around them can be correct then.
      const isSound = wrongChecksums(frames[i] as Uint8Array).length === 0
      const ours = { action: ACTIONS[verdict], ...(verdict === 'tx' ? shapeOf(output) : {}) }
      const theirs = { action, ...(action === 'XDP_TX' ? shapeOf(wanted) : {}) }
      const line = documented.get(`${set} #${n}`)
      return {
        name: `${set} #${n}: ${description}`,
        ours,
        expected: line === undefined ? theirs : { ...ours, action: line },
        wrong: verdict === 'tx' && isSound ? wrongChecksums(output, GUE_PORT) : [],
        isStale: line !== undefined && JSON.stringify(ours) === JSON.stringify(theirs),
      }
    })
    expect(found.map(({ name, ours }) => ({ name, ours }))).toEqual(
      found.map(({ name, expected }) => ({ name, ours: expected })),
    )
    expect(found.filter(({ wrong }) => wrong.length > 0).map(({ name, wrong }) => ({ name, wrong }))).toEqual([])
    // An outdated line of the document misleads.
    expect(found.filter(({ isStale }) => isStale).map(({ name }) => name)).toEqual([])
  })
})
