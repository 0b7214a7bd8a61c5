// Commands of bpftool and ip as data, and bytes in the form of bpftool's arguments.

import { LITTLE_ENDIAN } from './bytes.ts'

/** One process to run: `plan --commands` prints exactly the commands that apply runs. */
export interface Command {
  readonly tool: 'bpftool' | 'ip'
  readonly argv: readonly string[]
}

export const bpftool = (...argv: readonly string[]): Command => ({ tool: 'bpftool', argv })
export const commandLine = ({ tool, argv }: Command): string => [tool, ...argv].join(' ')

/** Commands that share a bpftool process with others, and the decoder of their outputs. */
export interface Part<T> {
  readonly commands: readonly Command[]
  /** Called once all commands have succeeded. May throw. */
  readonly finish: (outputs: readonly unknown[]) => T
}

/** A part of commands without a result. */
export const quiet = (...commands: readonly Command[]): Part<void> => ({ commands, finish: () => undefined })

/** A u32 key as the decimal bytes of bpftool's `key …` arguments. */
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

/** Runs a program that takes no data; `repeat 0`, because programs of type syscall refuse a repeat. */
export const plainRun = (pinned: string): Command => bpftool('prog', 'run', 'pinned', pinned, 'repeat', '0')
