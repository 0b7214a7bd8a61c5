// Commands of bpftool and ip as data, and bytes in the form of bpftool's arguments.

import { LITTLE_ENDIAN } from './bytes.ts'

/** One process to run: `plan --commands` prints exactly the commands that apply runs. */
export interface Command {
  readonly tool: 'bpftool' | 'ip'
  readonly argv: readonly string[]
}

export const bpftool = (...argv: readonly string[]): Command => ({ tool: 'bpftool', argv })
export const commandLine = ({ tool, argv }: Command): string => [tool, ...argv].join(' ')

/** A u32 key as bpftool's byte arguments. */
export function keyBytes(key: number): string[] {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, key, LITTLE_ENDIAN)
  return Array.from(new Uint8Array(view.buffer), String)
}

/** Bytes as bpftool's `hex …` arguments. */
export const hexBytes = (bytes: Uint8Array): string[] => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'))

/** `map update` of one value. */
export const updateCommand = (map: string, key: number, value: Uint8Array): Command =>
  bpftool('map', 'update', 'pinned', map, 'key', ...keyBytes(key), 'value', 'hex', ...hexBytes(value))
