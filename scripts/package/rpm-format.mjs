// The format of RPM packages, version 4: lead, signature, header and a cpio archive. Bytes follow from the arguments alone.
import { createHash } from 'node:crypto'

const MAGIC = Buffer.from('8eade80100000000', 'hex')
const LEAD_SIZE = 96
const ENTRY_SIZE = 16
const SIGNATURES = 62
const IMMUTABLE = 63

/** Types of values, with the writer and the alignment of each. */
const words = (size, write) => (values) => {
  const bytes = Buffer.alloc(values.length * size)
  for (const [i, value] of values.entries()) bytes[write](value, i * size)
  return bytes
}
const strings = (values) => Buffer.from(values.map((value) => `${value}\0`).join(''), 'utf8')
const TYPES = {
  int16: { code: 3, align: 2, encode: words(2, 'writeUInt16BE') },
  int32: { code: 4, align: 4, encode: words(4, 'writeUInt32BE') },
  string: { code: 6, align: 1, encode: strings },
  bin: { code: 7, align: 1, encode: ([bytes]) => bytes },
  strings: { code: 8, align: 1, encode: strings },
  i18n: { code: 9, align: 1, encode: strings },
}

const entry = (tag, type, offset, count) => words(4, 'writeInt32BE')([tag, type, offset, count])

/** A header structure: an index of tags and their values, sealed by the region `region`. Entries: `[tag, type, values]`. */
function structure(region, entries) {
  const index = []
  const store = []
  let size = 0
  for (const [tag, type, values] of entries.toSorted(([left], [right]) => left - right)) {
    const { code, align, encode } = TYPES[type]
    const gap = (align - (size % align)) % align
    const bytes = encode(values)
    store.push(Buffer.alloc(gap), bytes)
    index.push(entry(tag, code, size + gap, type === 'bin' ? bytes.length : values.length))
    size += gap + bytes.length
  }
  const count = index.length + 1
  const seal = entry(region, TYPES.bin.code, -count * ENTRY_SIZE, ENTRY_SIZE)
  const head = words(4, 'writeUInt32BE')([count, size + ENTRY_SIZE])
  return Buffer.concat([MAGIC, head, entry(region, TYPES.bin.code, size, ENTRY_SIZE), ...index, ...store, seal])
}

function lead(name) {
  const bytes = Buffer.alloc(LEAD_SIZE)
  Buffer.from('edabeedb03000000', 'hex').copy(bytes)
  bytes.writeUInt16BE(1, 8)
  bytes.write(name.slice(0, 65), 10, 'latin1')
  bytes.writeUInt16BE(1, 76)
  bytes.writeUInt16BE(5, 78)
  return bytes
}

const digest = (algorithm, ...parts) => {
  const hash = createHash(algorithm)
  for (const part of parts) hash.update(part)
  return hash
}

/**
 * A package.
 *
 * @param name as in the lead: name, version and release
 * @param entries of the header, `[tag, type, values]`
 * @param payload the compressed archive
 * @param unpacked size of the archive
 */
export function assemble(name, entries, payload, unpacked) {
  const header = structure(IMMUTABLE, entries)
  const signature = structure(SIGNATURES, [
    [269, 'string', [digest('sha1', header).digest('hex')]],
    [273, 'string', [digest('sha256', header).digest('hex')]],
    [1000, 'int32', [header.length + payload.length]],
    [1004, 'bin', [digest('md5', header, payload).digest()]],
    [1007, 'int32', [unpacked]],
  ])
  const gap = Buffer.alloc((8 - (signature.length % 8)) % 8)
  return Buffer.concat([lead(name), signature, gap, header, payload])
}

const hex = (value) => value.toString(16).padStart(8, '0')
const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])

function member(path, { inode, mode, links, time, content }) {
  const name = Buffer.from(`${path}\0`)
  const fields = [inode, mode, 0, 0, links, time, content.length, 0, 0, 0, 0, name.length, 0]
  return [padded(Buffer.concat([Buffer.from(`070701${fields.map(hex).join('')}`), name])), padded(content)]
}

/** A cpio archive (newc) of files: `{ path, mode, time, content }`, with paths from the root on. */
export function archive(files) {
  const members = files.flatMap(({ path, mode, time, content }, i) =>
    member(`./${path}`, { inode: i + 1, mode, links: 1, time, content }),
  )
  const end = member('TRAILER!!!', { inode: 0, mode: 0, links: 1, time: 0, content: Buffer.alloc(0) })
  return Buffer.concat([...members, ...end])
}
