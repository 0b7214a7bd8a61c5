// The two messages of the gRPC health checking protocol (grpc.health.v1.Health/Check), as they travel in HTTP/2:
// a flag and a length before each (gRPC over HTTP/2, "Length-Prefixed-Message"), and one field of protobuf inside.
// HealthCheckRequest { string service = 1 } and HealthCheckResponse { ServingStatus status = 1 }. Pure.

/** Names of ServingStatus by number. */
const STATUS_NAMES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const
const SERVING = 1

/** Bytes of the flag and the length, in network byte order. */
const PREFIX = 5

/** Field 1 as a length-delimited value (wire type 2), and as a varint (wire type 0). */
const SERVICE_TAG = (1 << 3) | 2
const STATUS_TAG = (1 << 3) | 0

/** Names of gRPC status codes by number (grpc/statuscodes). */
export const GRPC_STATUS = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

/** An unsigned number in groups of seven bits, the lowest first. */
function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return [...bytes, rest]
}

/** The request, with its prefix. An empty name is the default value of the field, which is not sent. */
export function encodeRequest(service: string): Buffer {
  const name = Buffer.from(service)
  const message = name.length === 0 ? name : Buffer.from([SERVICE_TAG, ...varint(name.length), ...name])
  const prefix = Buffer.alloc(PREFIX)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

/** Reads a varint at `from`; undefined if the bytes end within it, or it has more than 10 bytes. */
function readVarint(bytes: Buffer, from: number): { readonly value: bigint; readonly next: number } | undefined {
  let value = 0n
  for (let i = 0; i < 10; i++) {
    const byte = bytes[from + i]
    if (byte === undefined) return undefined
    value |= BigInt(byte & 0x7f) << BigInt(7 * i)
    if (byte < 0x80) return { value, next: from + i + 1 }
  }
  return undefined
}

/** Index after a field that is not read, by its wire type; undefined if it does not end within the bytes. */
function skip(bytes: Buffer, from: number, wireType: number): number | undefined {
  if (wireType === 0) return readVarint(bytes, from)?.next
  if (wireType === 1) return from + 8
  if (wireType === 5) return from + 4
  if (wireType !== 2) return undefined
  const length = readVarint(bytes, from)
  return length && length.next + Number(length.value)
}

/** The number of the status in a response; undefined if the bytes are no such message. Unknown fields are skipped. */
function statusOf(message: Buffer): bigint | undefined {
  let status = 0n
  let at = 0
  while (at < message.length) {
    const tag = readVarint(message, at)
    if (tag === undefined) return undefined
    if (tag.value === BigInt(STATUS_TAG)) {
      const found = readVarint(message, tag.next)
      if (found === undefined) return undefined
      status = found.value
      at = found.next
      continue
    }
    const next = tag.value < 8n ? undefined : skip(message, tag.next, Number(tag.value & 7n))
    if (next === undefined) return undefined
    at = next
  }
  return at === message.length ? status : undefined
}

/** Why the body of a response does not say that the service is SERVING; undefined if it does. */
export function objectionTo(body: Buffer): string | undefined {
  if (body.length < PREFIX) return 'the answer has no message'
  if (body[0] !== 0) return 'the message of the answer is compressed'
  if (body.readUInt32BE(1) !== body.length - PREFIX) return 'the message of the answer has another length than it says'
  const status = statusOf(body.subarray(PREFIX))
  if (status === undefined) return 'the answer is not a HealthCheckResponse'
  if (status === BigInt(SERVING)) return undefined
  return `the service is ${STATUS_NAMES[Number(status)] ?? `in status ${status}`}`
}
