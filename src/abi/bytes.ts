// Byte-level helpers of the generated codecs.

import { endianness } from 'node:os'

/** Maps hold integers in host byte order. */
export const LITTLE_ENDIAN = endianness() === 'LE'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Reads NUL-padded UTF-8. */
export function readText(view: DataView, offset: number, size: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size)
  const end = bytes.indexOf(0)
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/** Writes NUL-padded UTF-8. Throws RangeError if no byte is left for the final NUL. */
export function writeText(view: DataView, offset: number, size: number, text: string): void {
  const bytes = encoder.encode(text)
  if (bytes.length >= size) throw new RangeError(`"${text}" is longer than ${size - 1} bytes`)
  const target = new Uint8Array(view.buffer, view.byteOffset + offset, size)
  target.fill(0)
  target.set(bytes)
}

/** Copies `size` bytes out. */
export function readBytes(view: DataView, offset: number, size: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, size).slice()
}

/** Copies exactly `size` bytes in. Throws RangeError on any other length. */
export function writeBytes(view: DataView, offset: number, size: number, bytes: Uint8Array): void {
  if (bytes.length !== size) throw new RangeError(`expected ${size} bytes, got ${bytes.length}`)
  new Uint8Array(view.buffer, view.byteOffset + offset, size).set(bytes)
}

/** Reads `count` elements in order. */
export function readArray<T>(count: number, read: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => read(index))
}

/** Writes exactly `count` elements in order. Throws RangeError on any other length. */
export function writeArray<T>(count: number, elements: readonly T[], write: (element: T, index: number) => void): void {
  if (elements.length !== count) throw new RangeError(`expected ${count} elements, got ${elements.length}`)
  elements.forEach(write)
}
