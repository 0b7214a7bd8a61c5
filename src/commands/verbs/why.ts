// xdp why

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import type { Address } from '../../model/address.ts'
import { TCP, UDP, WRITTEN_PROTOCOLS } from '../../model/ports.ts'
import { parseAddress } from '../../model/text.ts'
import { type Query, why, whyAgainst, whyIfAny, whyOffline } from '../../pipelines/why.ts'
import { warnAge } from '../../plan/offline.ts'
import { isKeyHidden } from '../../render/policy.ts'
import { renderWhy, renderWhyJson } from '../../render/why.ts'
import type { WhyResult } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { WHY_FLAGS } from '../cli/flags.ts'
import { liveOf, readState } from './against.ts'
import { addressesIfAny, type Loaded, load, loadIfAny, showWarnings } from './config.ts'
import { readFields, readNumber } from './why-packet.ts'

const PROTOCOLS: Readonly<Record<string, number | 'icmp'>> = {
  ...WRITTEN_PROTOCOLS,
  icmpv6: 'icmp',
}

function readAddress(what: string, text: string): Address {
  const address = parseAddress(text)
  if (address) return address
  const hint = text.includes('/')
    ? `write one address: ${text.split('/')[0]}`
    : 'write an IPv4 or IPv6 address: 203.0.113.9'
  throw fail('E300', `${what} "${text}" is not an address`, hint)
}

function readProtocol(text: string | undefined): Query['protocol'] {
  if (text === undefined) return undefined
  const protocol = PROTOCOLS[text.toLowerCase()]
  if (protocol !== undefined) return protocol
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return Number(text)
  throw fail(
    'E300',
    `--protocol "${text}" is not a protocol`,
    'write tcp, udp, icmp, gre, esp, ah, sctp or a number from 0 to 255',
  )
}

/** Parses the arguments into the packet to explain. Throws E300 where they contradict each other. */
export function readQuery({ positionals: [source = ''], options }: Arguments<typeof WHY_FLAGS>): Query {
  const sourcePort = readNumber('source-port', options['source-port'], 65535)
  const destinationPort = readNumber('destination-port', options['destination-port'], 65535)
  const ports = sourcePort !== undefined || destinationPort !== undefined
  const protocol = readProtocol(options.protocol)
  if (ports && protocol !== TCP && protocol !== UDP)
    throw fail(
      'E300',
      `ports need protocol tcp or udp, not ${options.protocol ?? 'any'}`,
      'add --protocol tcp or --protocol udp',
    )
  const from = readAddress('ADDRESS', source)
  const to = options.destination === undefined ? undefined : readAddress('--destination', options.destination)
  if (to && to.family !== from.family)
    throw fail(
      'E300',
      `ADDRESS is IPv${from.family}, but --destination is IPv${to.family}`,
      'write addresses of one family',
    )
  const fields = readFields(options, { source: from, protocol })
  return {
    source: from,
    protocol,
    sourcePort,
    destination: to,
    destinationPort,
    interface: options.interface,
    ...fields,
  }
}

interface Answer {
  readonly loaded: Loaded | undefined
  readonly result: WhyResult
}

/** The config of the command. The file alone must be there; beside the live state it need not. */
const configFor = (context: Context, isOffline: boolean): Promise<Loaded | undefined> =>
  isOffline ? load(context, { readHost: addressesIfAny }) : loadIfAny(context, { readHost: addressesIfAny })

/** By the live state and the file. A file that the user names answers alone where nothing live can be read. */
function answer({ flags, host }: Context, loaded: Loaded | undefined, query: Query, isOffline: boolean) {
  const facts = { usesHost: loaded?.host !== undefined }
  if (loaded && isOffline) return whyOffline(loaded.desired, query, facts)
  if (loaded && flags.file !== undefined) return whyIfAny(host, loaded.desired, query, facts)
  return why(host, loaded?.desired, query)
}

/** By an exported state, and the file if there is one. */
async function answerAgainst(context: Context, path: string, query: Query): Promise<Answer> {
  const { name, state } = await readState(context, path)
  const loaded = await loadIfAny(context, { readHost: async () => state.live.ownAddresses })
  const exported = { ...state, live: liveOf(state, loaded?.desired) }
  const facts = { path: name, exported, isKeyUnknown: isKeyHidden(exported.live.state.policy) }
  showWarnings(context, warnAge(state, Date.now() / 1000))
  return { loaded, result: whyAgainst(facts, loaded?.desired, query) }
}

async function answerFor(context: Context, { options }: Arguments<typeof WHY_FLAGS>, query: Query): Promise<Answer> {
  const { offline, against } = options
  if (against === undefined) {
    const loaded = await configFor(context, offline)
    return { loaded, result: await answer(context, loaded, query, offline) }
  }
  if (offline)
    throw fail(
      'E300',
      '--offline answers by the config alone, and --against by a state',
      'leave one of the two flags out',
    )
  return answerAgainst(context, against, query)
}

export async function run(context: Context, args: Arguments<typeof WHY_FLAGS>): Promise<Exit> {
  const { loaded, result } = await answerFor(context, args, readQuery(args))
  const text = renderWhy(result, loaded?.desired.config.path, context.color.stdout)
  context.stdout(context.flags.json ? renderWhyJson(result) : text)
  return EXIT.ok
}
