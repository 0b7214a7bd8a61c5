// Recognising an image: compiling is deterministic, so an image that is byte for byte what a state compiles to holds
// that state, and need not be decoded to say so. This is what makes a plan without changes cheap.

import {
  ABI_VERSION,
  balanceCodec,
  HEADER_LINES,
  LINE_SIZE,
  listCodec,
  metaCodec,
  SETTINGS_FLAG,
  settingsCodec,
} from '../abi/generated.ts'
import { XdpError } from '../diagnostics.ts'
import { DEFAULT_POLICY, type State } from '../model/state.ts'
import { decodeRoles, rawServices } from './balance.ts'
import { readServiceFacts } from './decode-services.ts'
import { listDigest, policyDigest } from './digest.ts'
import { compileImage, type DecodedImage } from './image.ts'
import { BALANCE_LINE, META_LINE, ROLES_LINE, SETTINGS_LINE, sectionReader } from './layout.ts'
import type { ServiceFacts } from './services.ts'

/** The slots of the lists, if the image records just the lists of the state with their content. */
function recordedSlots(
  image: Uint8Array,
  { lists, policy = DEFAULT_POLICY }: State,
): ReadonlyMap<string, number> | undefined {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const meta = metaCodec.decode(view, META_LINE * LINE_SIZE)
  if (meta.list_count !== lists.size || meta.policy_digest !== policyDigest(policy)) return undefined
  const records = sectionReader(image)('LISTS', meta.lists)
  if (records.byteLength < lists.size * LINE_SIZE) return undefined
  const slots = new Map<string, number>()
  for (let number = 0; number < lists.size; number++) {
    const record = listCodec.decode(new DataView(records.buffer, records.byteOffset + number * LINE_SIZE, LINE_SIZE))
    const list = lists.get(record.name)
    if (!list || listDigest(list) !== record.digest) return undefined
    slots.set(record.name, record.slot)
  }
  return slots.size === lists.size ? slots : undefined
}

const NO_FACTS: ServiceFacts = {
  slots: { services: new Map(), backends: new Map(), pools: new Map() },
  leaving: [],
  deadlines: new Map(),
}

/** Slots and deadlines of the services, as recorded. Throws XdpError E113 where the lines are damaged. */
function recordedFacts(image: Uint8Array): ServiceFacts {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if ((settingsCodec.decode(view, SETTINGS_LINE * LINE_SIZE).flags & SETTINGS_FLAG.SERVICES) === 0) return NO_FACTS
  const balance = balanceCodec.decode(view, BALANCE_LINE * LINE_SIZE)
  return readServiceFacts(balance, rawServices(sectionReader(image), balance))
}

/** Makes the parts equal that any image of the state may differ in: what was recorded at commit, and roles. */
function adopt(compiled: Uint8Array, image: Uint8Array): void {
  const [to, from] = [compiled, image].map((bytes) => new DataView(bytes.buffer, bytes.byteOffset)) as [
    DataView,
    DataView,
  ]
  const meta = metaCodec.decode(from, META_LINE * LINE_SIZE)
  const own = metaCodec.decode(to, META_LINE * LINE_SIZE)
  metaCodec.encode({ ...own, committed_at: meta.committed_at }, to, META_LINE * LINE_SIZE)
  const roles = image.subarray(ROLES_LINE * LINE_SIZE, (ROLES_LINE + 1) * LINE_SIZE)
  compiled.set(roles, ROLES_LINE * LINE_SIZE)
  const settings = settingsCodec.decode(to, SETTINGS_LINE * LINE_SIZE)
  const flags = settings.flags | (roles.some((bits) => bits !== 0) ? SETTINGS_FLAG.ROLES : 0)
  settingsCodec.encode({ ...settings, flags }, to, SETTINGS_LINE * LINE_SIZE)
}

/**
 * What `decodeImage` would say of the image, if it is exactly what the state's policy, lists and services compile to
 * with whatever roles the interfaces have; undefined where it is anything else. Never throws.
 */
export function recognizeImage(bytes: Uint8Array, state: State): DecodedImage | undefined {
  const image = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  if (image.length < HEADER_LINES * LINE_SIZE) return undefined
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if (settingsCodec.decode(view, SETTINGS_LINE * LINE_SIZE).abi_version !== ABI_VERSION) return undefined
  try {
    const lists = recordedSlots(image, state)
    if (!lists) return undefined
    const { slots: own, leaving, deadlines } = recordedFacts(image)
    const slots = { lists, ...own }
    const meta = metaCodec.decode(view, META_LINE * LINE_SIZE)
    const compiled = compileImage({
      state: { ...state, interfaces: new Map() },
      slots: { ...slots, interfaces: new Map() },
      meta: { generation: Number(meta.generation), netns: meta.netns, objectDigest: meta.object_digest },
      leaving,
      deadlines,
    })
    adopt(compiled, image)
    if (Buffer.compare(compiled, image) !== 0) return undefined
    const { policy = DEFAULT_POLICY, services } = state
    const roles = decodeRoles(view)
    return { policy, lists: state.lists, services, slots, roles, leaving, deadlines, meta, drifted: [] }
  } catch (error) {
    // Of RangeError: a service of the state has no slot there.
    if (error instanceof XdpError || error instanceof RangeError) return undefined
    throw error
  }
}
