// Services for tests: given in a line or two, or drawn at random; canonical like real ones.

import fc from 'fast-check'
import { FORWARDING_MODES, FORWARDINGS } from '../../src/features/forwarding/forwarding.ts'
import type { Address } from '../../src/model/address.ts'
import { DEFAULT_POLICY, type Policy } from '../../src/model/policy.ts'
import type { PortRange, TransportProtocol } from '../../src/model/ports.ts'
import {
  ANY_PORT,
  type Backend,
  type BackendState,
  backendKey,
  GUE_PORT,
  type LeavingBackend,
  type NextHop,
  onlyPort,
  type Service,
  UDP_TIMEOUT,
} from '../../src/model/service.ts'
import { EMPTY_STATE, type List, type State } from '../../src/model/state.ts'
import { compareAddresses, parseAddress } from '../../src/model/text.ts'

export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (!parsed) throw new Error(`${text} is not an address`)
  return parsed
}

/** Next hop on an interface that does not receive test runs. */
export const EGRESS: NextHop = {
  interface: 'eth1',
  ifindex: 7,
  mac: '02005e100001',
  sourceMac: '02005e1000fe',
  vlan: 0,
  mtu: 1500,
}

type BackendFields = Partial<Omit<Backend, 'address'>>

/** `10.0.0.1` or `10.0.0.1 8080`, active with weight 1 at EGRESS. */
export function backend(text: string, fields: BackendFields = {}): Backend {
  const [host, port] = text.split(' ') as [string, string | undefined]
  return {
    address: address(host),
    port: port === undefined ? undefined : Number(port),
    weight: 1,
    state: 'active',
    backup: false,
    mtu: undefined,
    nextHop: EGRESS,
    ...fields,
  }
}

const byAddress = (a: Backend, b: Backend): number =>
  a.address.family - b.address.family ||
  compareAddresses(a.address.words, b.address.words) ||
  (a.port ?? 0) - (b.port ?? 0)

export const OUTER = { v4: { address: address('172.16.0.0'), length: 16 }, v6: address('100::') }

type ServiceFields = Partial<Omit<Service, 'name' | 'vip' | 'ports' | 'protocols' | 'backends' | 'snatPool'>> & {
  /** `tcp` if neither this nor `protocols` is given. */
  readonly protocol?: TransportProtocol
  readonly protocols?: Service['protocols']
  readonly backends?: readonly (Backend | string)[]
  readonly snatPool?: readonly string[]
}

/** `192.0.2.10 80`, `192.0.2.10 80,8000-8099` or `192.0.2.10 any`; by default TCP and NAT. */
export function service(
  name: string,
  at: string,
  { backends = [], snatPool = [], protocol = 'tcp', ...fields }: ServiceFields = {},
): Service {
  const [vip, port] = at.split(' ') as [string, string]
  const ranges = port.split(',').map((range) => {
    const [first, last = first] = range.split('-').map(Number)
    return { first: first as number, last: last as number }
  })
  return {
    name,
    vip: address(vip),
    ports: port === 'any' ? [ANY_PORT] : ranges,
    protocols: [protocol],
    forwarding: 'nat',
    scheduler: 'maglev',
    hash: 'five_tuple',
    onEmpty: 'drop',
    snatPool: snatPool.map(address),
    guePort: GUE_PORT,
    outerSource: OUTER,
    repliesFrom: 'route',
    udpTimeout: UDP_TIMEOUT,
    drainTimeout: undefined,
    mtu: undefined,
    sorry: undefined,
    ...fields,
    backends: backends.map((one) => (typeof one === 'string' ? backend(one) : one)).sort(byAddress),
  }
}

/** A state with services, lists and settings. */
export const balancing = (
  services: readonly Service[],
  { lists = [], policy = {} }: { readonly lists?: readonly List[]; readonly policy?: Partial<Policy> } = {},
): State => ({
  ...EMPTY_STATE,
  policy: { ...DEFAULT_POLICY, flows: 1024, ...policy },
  lists: new Map(lists.map((list) => [list.name, list])),
  services: new Map(services.map((one) => [one.name, one])),
})

/** Of the file, for one backend. */
const mtu = fc.constantFrom(undefined, undefined, 576, 1400, 65535)

const nextHop: fc.Arbitrary<NextHop | undefined> = fc.option(
  fc.record({
    interface: fc.constantFrom('eth0', 'eth1', 'a234567890.2345'),
    ifindex: fc.integer({ min: 1, max: 1000 }),
    mac: fc.constantFrom('02005e100001', 'fefefefefefe'),
    sourceMac: fc.constantFrom('02005e1000fe', '020000000000'),
    vlan: fc.constantFrom(0, 1, 4094),
    mtu: fc.constantFrom(1280, 1500, 9000, 65535),
  }),
  { nil: undefined, freq: 6 },
)

const drawnAddress = (family: 4 | 6, net: number): fc.Arbitrary<Address> =>
  fc
    .integer({ min: 1, max: 40 })
    .map((host) => address(family === 4 ? `10.${net}.0.${host}` : `2001:db8:${net}::${host.toString(16)}`))

const weight = fc.oneof(
  { arbitrary: fc.constantFrom(0, 2, 100, 65535), weight: 1 },
  { arbitrary: fc.constant(1), weight: 3 },
)
const state = fc.oneof(
  { arbitrary: fc.constantFrom<BackendState>('drain', 'disabled'), weight: 1 },
  { arbitrary: fc.constant<BackendState>('active'), weight: 4 },
)

const backup = fc.integer({ min: 0, max: 4 }).map((number) => number === 0)

const drawnBackends = (family: 4 | 6, port: fc.Arbitrary<number | undefined>, most: number): fc.Arbitrary<Backend[]> =>
  fc.uniqueArray(fc.record({ address: drawnAddress(family, 1), port, weight, state, backup, mtu, nextHop }), {
    maxLength: most,
    selector: backendKey,
  })

const one = (port: number): PortRange => ({ first: port, last: port })

const PORTS: readonly Service['ports'][] = [
  [one(80)],
  [one(443)],
  [{ first: 8000, last: 8099 }],
  [{ first: 8010, last: 8020 }],
  [ANY_PORT],
  [{ first: 1, last: 65535 }],
  [one(80), one(443)],
  [one(53), { first: 8005, last: 8015 }, one(65535)],
  Array.from({ length: 16 }, (_, i) => one(1000 + i)),
]

/** One service; its number determines its name and its VIP. */
function drawnService(number: number): fc.Arbitrary<{ readonly service: Service; readonly leaving: Backend[] }> {
  return fc
    .record({
      vipFamily: fc.constantFrom<4 | 6>(4, 6),
      ports: fc.constantFrom(...PORTS),
      forwarding: fc.constantFrom(...FORWARDINGS),
      otherFamily: fc.boolean(),
      isSnat: fc.boolean(),
    })
    .chain(({ vipFamily, ports, forwarding, otherFamily, isSnat }) => {
      const { crossesFamilies, rewritesPort, keys } = FORWARDING_MODES[forwarding]
      const family = crossesFamilies && otherFamily ? (vipFamily === 4 ? 6 : 4) : vipFamily
      const mayRewrite = rewritesPort && onlyPort({ ports }) !== undefined
      const port = mayRewrite ? fc.option(fc.constantFrom(8080, 8443), { nil: undefined }) : fc.constant(undefined)
      const pool =
        keys.includes('snat') && isSnat
          ? fc.uniqueArray(drawnAddress(family, 9), {
              minLength: 1,
              maxLength: 4,
              selector: ({ words }) => words.join(),
            })
          : fc.constant<Address[]>([])
      return fc
        .record({
          vip: drawnAddress(vipFamily, 200 + (number % 3)),
          protocols: fc.constantFrom<Service['protocols']>(['tcp'], ['udp'], ['tcp', 'udp']),
          scheduler: fc.constantFrom<Service['scheduler']>('maglev', 'random'),
          hash: fc.constantFrom<Service['hash']>('five_tuple', 'source'),
          onEmpty: fc.constantFrom<Service['onEmpty']>('drop', 'pass', 'reject'),
          snatPool: pool.map((addresses) => addresses.sort((a, b) => compareAddresses(a.words, b.words))),
          guePort: fc.constantFrom(GUE_PORT, 9886),
          outerSource: fc.constantFrom(OUTER, {
            v4: { address: address('10.77.0.0'), length: 24 },
            v6: address('fd00:1:2:3::'),
          }),
          repliesFrom: fc.constantFrom<Service['repliesFrom']>('route', 'anywhere'),
          udpTimeout: fc.constantFrom(UDP_TIMEOUT, 1, 86400),
          drainTimeout: fc.constantFrom(undefined, 0, 60),
          mtu: fc.constantFrom(undefined, undefined, 576, 65535),
          hasSorry: fc.boolean(),
          all: drawnBackends(family, port, 8),
          leavers: fc.nat(2),
        })
        .map(({ all, leavers, hasSorry, ...fields }) => {
          const sorry = hasSorry && all[0] ? { ...all[0], backup: false } : undefined
          const others = sorry ? all.slice(1) : all
          const backends = others.slice(leavers).sort(byAddress)
          const whole: Service = { name: `service-${number}`, ports, forwarding, sorry, backends, ...fields }
          return { service: whole, leaving: others.slice(0, leavers) }
        })
    })
}

/** Services with leaving backends, and deadlines of drained ones. */
export const arbitraryServices: fc.Arbitrary<{
  readonly services: readonly Service[]
  readonly leaving: readonly LeavingBackend[]
}> = fc.integer({ min: 0, max: 5 }).chain((count) =>
  fc.tuple(...Array.from({ length: count }, (_, number) => drawnService(number))).map((drawn) => ({
    services: drawn.map(({ service: one }) => one),
    leaving: drawn.flatMap(({ service: one, leaving }) =>
      leaving.map((backendLeaving, i) => ({ service: one.name, backend: backendLeaving, deadline: 1000 + i })),
    ),
  })),
)
