// Recognising an image: compiling is deterministic, so an image that is byte for byte what a state compiles to holds
// that state, and need not be decoded to say so. This is what makes a plan without changes cheap.

import { ABI_VERSION, HEADER_LINES, LINE_SIZE, listCodec, metaCodec, settingsCodec } from '../abi/generated.ts'
import { XdpError } from '../diagnostics.ts'
import { DEFAULT_POLICY, type State } from '../model/state.ts'
import { listDigest, policyDigest } from './digest.ts'
import { compileImage, type DecodedImage } from './image.ts'
import { META_LINE, SETTINGS_LINE, sectionReader } from './layout.ts'

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

/**
 * What `decodeImage` would say of the image, if it is exactly what the state's policy and lists compile to; undefined
 * where it is anything else. Never throws.
 */
export function recognizeImage(bytes: Uint8Array, state: State): DecodedImage | undefined {
  const image = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  if (image.length < HEADER_LINES * LINE_SIZE) return undefined
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if (settingsCodec.decode(view, SETTINGS_LINE * LINE_SIZE).abi_version !== ABI_VERSION) return undefined
  try {
    const slots = recordedSlots(image, state)
    if (!slots) return undefined
    const meta = metaCodec.decode(view, META_LINE * LINE_SIZE)
    const own = { generation: Number(meta.generation), netns: meta.netns, objectDigest: meta.object_digest }
    const compiled = compileImage({ state, slots, meta: own })
    const committed = { ...metaCodec.decode(new DataView(compiled.buffer), META_LINE * LINE_SIZE) }
    metaCodec.encode(
      { ...committed, committed_at: meta.committed_at },
      new DataView(compiled.buffer),
      META_LINE * LINE_SIZE,
    )
    if (Buffer.compare(compiled, image) !== 0) return undefined
    return { policy: state.policy ?? DEFAULT_POLICY, lists: state.lists, slots, meta, drifted: [] }
  } catch (error) {
    if (error instanceof XdpError) return undefined
    throw error
  }
}
