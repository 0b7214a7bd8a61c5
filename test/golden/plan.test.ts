// Plans as text and JSON. Each folder of test/golden/plan is a case:
//   xdp.yaml      the desired config
//   before.yaml   the config applied before; without it, nothing is live
//   facts.yaml    the host; without it, every interface is an ordinary veth, attached in its preferred mode
//   plan.txt, summary.txt, plan.json   the expected output; UPDATE_GOLDEN=1 writes it
// Adding a folder adds a test.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import type { AttachedProgram, Link, Live, ObjectKey, ProgramOwner, TcpSettings } from '../../src/model/live.ts'
import type { NextHop } from '../../src/model/service.ts'
import { type AttachMode, EMPTY_STATE, type Program, type State } from '../../src/model/state.ts'
import { guard } from '../../src/plan/guard.ts'
import { withNextHops } from '../../src/plan/next-hops.ts'
import { plan } from '../../src/plan/plan.ts'
import { renderDiagnostics } from '../../src/render/diagnostic.ts'
import { type PlanView, renderPlan } from '../../src/render/plan.ts'
import { renderPlanJson } from '../../src/render/plan-json.ts'
import { address } from '../support/services.ts'
import { foreign, link, live, PROGRAM } from '../support/states.ts'

interface Facts {
  readonly links?: Readonly<
    Record<string, Partial<Omit<Link, 'programs'>> & { readonly foreign?: Partial<AttachedProgram> }>
  >
  readonly absent?: readonly string[]
  /** Live modes that are not the preferred ones of before.yaml. */
  readonly modes?: Readonly<Record<string, AttachMode>>
  readonly drift?: Readonly<Record<string, string>>
  /** Drifted objects with a recorded digest: whether xdp.yaml has other content than the last apply had. */
  readonly edited?: Readonly<Record<string, boolean>>
  /** Interfaces of before.yaml whose program another tool detached. */
  readonly detached?: readonly string[]
  /** By id of a foreign program. */
  readonly owners?: Readonly<Record<string, ProgramOwner>>
  /** The live build. */
  readonly program?: Program
  /**
   * Next hops of backends as `MAC INTERFACE [MTU [VLAN]]`, or why one is unknown; and the live ones where they differ.
   */
  readonly hops?: Readonly<Record<string, string>>
  readonly liveHops?: Readonly<Record<string, string>>
  /** Gateways on the routes to backends. */
  readonly gateways?: Readonly<Record<string, string>>
  readonly own?: readonly string[]
  readonly unanswered?: Readonly<Record<string, string>>
  readonly stripping?: Readonly<Record<string, readonly string[]>>
  readonly forwards?: boolean
  readonly ssh?: Readonly<Record<string, number>>
  /** Absent `cookies`: a kernel without them. */
  readonly tcp?: Partial<TcpSettings>
}

/** Parses a text of `hops`; undefined: the next hop is unknown. */
function hopOf(text: string): NextHop | undefined {
  const [mac = '', device = '', mtu = '1500', vlan = '0'] = text.split(' ')
  if (!/^[0-9a-f]{12}$/.test(mac)) return undefined
  return { interface: device, ifindex: 7, mac, sourceMac: '02005e1000fe', vlan: Number(vlan), mtu: Number(mtu) }
}

const hopsOf = (texts: Facts['hops'] = {}): Map<string, NextHop | undefined> =>
  new Map(Object.entries(texts).map(([address, text]) => [address, hopOf(text)]))

function reasonsOf(texts: Facts['hops'] = {}): Map<string, string> {
  return new Map(Object.entries(texts).filter(([, text]) => hopOf(text) === undefined))
}

const ROOT = join(import.meta.dirname, 'plan')
const WHOLE = /\/(?=(?:xdp|before)\.yaml|lists\/)/

function readFacts(folder: string): Facts {
  const path = join(folder, 'facts.yaml')
  return existsSync(path) ? (parse(readFileSync(path, 'utf8')) as Facts) : {}
}

async function readBefore(folder: string, { modes = {}, program = PROGRAM, hops, liveHops }: Facts): Promise<State> {
  const path = join(folder, 'before.yaml')
  if (!existsSync(path)) return EMPTY_STATE
  const { state } = (await loadConfig(path)).desired
  const interfaces = [...state.interfaces].map(
    ([
      name,
      {
        modes: [preferred],
        roles,
      },
    ]) => {
      return [name, { interface: name, modes: [modes[name] ?? (preferred as AttachMode)], roles }] as const
    },
  )
  const services = withNextHops(state.services, { nextHops: hopsOf({ ...hops, ...liveHops }) })
  return { ...state, program, interfaces: new Map(interfaces), services }
}

function readLive(before: State, names: readonly string[], facts: Facts): Live {
  const {
    links = {},
    absent = [],
    drift = {},
    edited = {},
    detached = [],
    owners = {},
    own = [],
    unanswered = {},
    stripping = {},
    gateways = {},
    forwards = true,
    ssh = {},
    tcp,
  } = facts
  const known = [...new Set(['lo', ...names, ...Object.keys(links)])].filter((name) => !absent.includes(name))
  const existing = known.map((name) => {
    const { foreign: other, ...others } = links[name] ?? {}
    return link(name, { ...others, programs: other ? [foreign(other)] : [] })
  })
  const drifted = new Map(Object.entries(drift) as [ObjectKey, string][])
  const attached = new Map([...before.interfaces].filter(([name]) => !detached.includes(name)))
  return live({
    state: { ...before, interfaces: attached },
    links: existing,
    drift: drifted,
    applied: { interfaces: before.interfaces, edited: new Map(Object.entries(edited) as [ObjectKey, boolean][]) },
    owners: new Map(Object.entries(owners).map(([id, owner]) => [Number(id), owner])),
    nextHops: hopsOf(facts.hops),
    unresolved: reasonsOf(facts.hops),
    gateways: new Map(Object.entries(gateways)),
    ownAddresses: own.map(address),
    unanswered: new Map(Object.entries(unanswered)),
    stripping: new Map(Object.entries(stripping)),
    forwards: { v4: forwards, v6: forwards },
    sshEnds: Object.entries(ssh).map(([text, port]) => ({ address: address(text), port })),
    bootSeconds: 1000,
    ...(tcp && { tcp: { cookies: undefined, timestamps: 1, receiveMax: 212_992, ...tcp } }),
  })
}

/** Removes absolute paths of the checkout, which differ between machines. */
const withoutFolder = (text: string): string => text.replaceAll(new RegExp(`[\\w./-]*${WHOLE.source}`, 'g'), '')

async function render(folder: string): Promise<Readonly<Record<string, string>>> {
  const facts = readFacts(folder)
  const { desired } = await loadConfig(relative(process.cwd(), join(folder, 'xdp.yaml')))
  const before = await readBefore(folder, facts)
  const current = readLive(before, [...desired.state.interfaces.keys(), ...before.interfaces.keys()], facts)
  const refused = guard(desired, current)
  if (refused.length > 0) return { 'plan.txt': withoutFolder(renderDiagnostics(refused, { color: false })) }
  const made = plan(desired, current, PROGRAM)
  const { config, provenance } = desired
  const view: PlanView = {
    config,
    provenance,
    detail: 'normal',
    color: false,
    commands: undefined,
    total: made.changes.length,
  }
  return {
    'plan.txt': withoutFolder(renderPlan(made, view)),
    'summary.txt': withoutFolder(renderPlan(made, { ...view, detail: 'summary' })),
    'plan.json': withoutFolder(renderPlanJson(made, view)),
  }
}

test.each(readdirSync(ROOT))('%s', async (name) => {
  const folder = join(ROOT, name)
  const rendered = await render(folder)
  for (const [file, text] of Object.entries(rendered)) {
    const path = join(folder, file)
    if (process.env['UPDATE_GOLDEN']) writeFileSync(path, text)
    expect(text, `${name}/${file}`).toBe(readFileSync(path, 'utf8'))
  }
})
