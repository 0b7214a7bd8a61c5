// The packets that services take, as conditions on their fields (see balance.ts).

import { isPlainNat } from '../features/forwarding/forwarding.ts'
import type { Address } from '../model/address.ts'
import { ICMP_OF, type PortRange, PROTOCOL_NUMBERS, TCP, widthOf } from '../model/ports.ts'
import { everyBackend, type Service } from '../model/service.ts'
import { compareAddresses } from '../model/text.ts'
import { type Verdict, verdictOf } from '../report/reason.ts'
import { balance } from './balance.ts'
import type { Condition, Sample } from './packet-space.ts'
import {
  destinationAmong,
  destinationPortIn,
  HEADED,
  hasFlaw,
  hasType,
  isFragment,
  isProtocol,
} from './packet-tests.ts'
import { transitOf } from './question.ts'

const ECHO_REQUEST = { 4: 8, 6: 128 } as const

const numbersOf = ({ protocols }: Service): number[] => protocols.map((name) => PROTOCOL_NUMBERS[name])

/** Packets of which some may be for services; all others are for none. */
export const toVips = (services: readonly Service[]): Condition => [
  destinationAmong(services.map(({ vip }) => vip.words)),
]

/** Packets that the balancer decides about: of services, later fragments of their protocols, and echo requests to VIPs. */
export function servedTests(services: readonly Service[], { family }: Address): readonly Condition[] {
  const echo = [isProtocol(ICMP_OF[family]), isFragment(undefined), ...HEADED, hasType(ECHO_REQUEST[family])]
  const vips = new Map(services.map(({ vip }) => [vip.words.join(), vip]))
  return [
    ...services.flatMap((service): Condition[] => {
      const own = [destinationAmong([service.vip.words]), isProtocol(...numbersOf(service))]
      return [
        [...own, ...HEADED, destinationPortIn(service.ports)],
        [...own, isFragment('later')],
      ]
    }),
    ...[...vips.values()].map((vip): Condition => [destinationAmong([vip.words]), ...echo]),
  ]
}

/** TCP packets for which entries with `socket: none` do not ask: see `isServed`. */
export function unaskedTests(services: readonly Service[], source: Address): readonly Condition[] {
  const isSource = ({ family, words }: Address): boolean =>
    family === source.family && compareAddresses(words, source.words) === 0
  const isOfService = (service: Service): boolean =>
    isSource(service.vip) || (isPlainNat(service) && everyBackend(service).some(({ address }) => isSource(address)))
  if (services.some(isOfService)) return [[]]
  const pools = services.flatMap(({ snatPool }) => snatPool).filter(({ family }) => family === source.family)
  return [
    ...servedTests(services, source),
    ...(pools.length > 0 ? [[destinationAmong(pools.map(({ words }) => words)), isProtocol(TCP)]] : []),
  ]
}

/** Packets that meet the tests and none of the conditions. */
interface Taken {
  readonly tests: Condition
  readonly avoided: readonly Condition[]
}

const WHOLE: Condition = [...HEADED, hasFlaw(undefined, 'ip_options')]

/** Each service with the packets that it takes: for each of its ranges those that no narrower one of its VIP has. */
export function takenTests(
  services: readonly Service[],
): readonly { readonly service: Service; readonly taken: readonly Taken[] }[] {
  const byVip = new Map<string, Service[]>()
  for (const service of services) {
    const key = service.vip.words.join()
    byVip.set(key, [...(byVip.get(key) ?? []), service])
  }
  return services.map((service) => ({ service, taken: takenBy(service, byVip.get(service.vip.words.join()) ?? []) }))
}

function takenBy(service: Service, ofVip: readonly Service[]): Taken[] {
  const at = ofVip.indexOf(service)
  const isNarrower = (range: PortRange, other: PortRange, i: number): boolean =>
    widthOf(other) < widthOf(range) || (i < at && widthOf(other) === widthOf(range))
  return service.ports.map((range) => ({
    tests: [isProtocol(...numbersOf(service)), ...WHOLE, destinationPortIn([range])],
    avoided: ofVip.flatMap((other, i) => {
      const narrower = i === at ? [] : other.ports.filter((one) => isNarrower(range, one, i))
      return narrower.length > 0 ? [[isProtocol(...numbersOf(other)), destinationPortIn(narrower)]] : []
    }),
  }))
}

/** The verdict on a packet of a service, if all its backends are healthy; of a packet that it forwards, `redirect`. */
export function verdictOfService(
  service: Service,
  packet: Sample | 'unknown',
  source: Address,
  ingress: number,
  hashKey: string | undefined,
): Verdict {
  if (packet === 'unknown') return 'redirect'
  const found = balance(new Map([[service.name, service]]), transitOf(packet, source), ingress, hashKey)
  const { reason = 'balanced' } = found ?? {}
  return reason === 'balanced' ? 'redirect' : verdictOf(reason)
}
