// How severe a finding about native mode is for an interface of the config. Pure.

import type { AttachMode } from '../../model/state.ts'
import type { Check, CheckLevel } from '../../report/result.ts'
import type { Card } from './cards.ts'
import { ok } from './check.ts'

/** Modes that the config permits, in order; undefined for an interface outside the config. */
export type Wanted = readonly AttachMode[] | undefined

/** Level of a finding that native mode is unavailable. */
export function severity(wanted: Wanted): CheckLevel {
  if (wanted === undefined) return 'warn'
  if (wanted[0] !== 'native') return 'ok'
  return wanted.includes('generic') ? 'warn' : 'fail'
}

export const find = (level: CheckLevel, id: string, message: string, fix: string): Check =>
  level === 'ok' ? ok(id, message) : { id, level, message, fix }

/** The line of config that makes apply use generic mode. */
export const permitGeneric = (name: string, wanted: Wanted): string =>
  wanted?.includes('generic')
    ? `write \`mode: generic\` under ${name}, so that apply does not try native`
    : `write \`mode: generic\` under ${name}: slower, but every interface supports it`

/** Whether a program runs in native mode on a card, so that the driver has accepted one. */
export const isNative = ({ programs }: Card): boolean => programs.some(({ mode }) => mode === 'native')
