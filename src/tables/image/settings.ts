// The settings of a policy in the settings line of an image (struct settings). A setting with a number has the field of
// its name; those with words are flags; a set of words is a row of flags. The key of the hash and protected prefixes have
// lines in a section of their own; anomalies are in the first line of the interfaces. The size of the table of bans is a
// power of two, stored among the flags.

import {
  ESSENTIAL,
  ESSENTIAL_DEFAULT,
  ESSENTIAL_SHIFT,
  hashKeyCodec,
  LINE_SIZE,
  SETTINGS_FLAG,
  type Settings,
} from '../../abi/generated.ts'
import { decodeProtected, encodeProtected } from '../../abi/protect.ts'
import { ESSENTIAL_GROUPS, type EssentialGroup, type Policy, SETTING_NAMES } from '../../model/policy.ts'
import { parseProtect, protectTexts } from '../../model/protect.ts'
import { decodeInterfaces } from '../classes/interfaces.ts'
import { bansFlags, bansOf, hasHashKey, ratesStart, type Sections } from '../layout/layout.ts'
import { joinLines, makeLines, viewOf } from '../lines/lines.ts'
import { decodeSyn, synLines } from './syn.ts'

/** Settings with a number in a field of its own. A name here that is no field of struct settings is an error of types. */
type NumberName = Exclude<{ [K in keyof Policy]: Policy[K] extends number ? K : never }[keyof Policy], 'bans'>
type Numbers = Pick<Settings, NumberName>

const WORDS: Readonly<Record<Exclude<keyof Policy, NumberName>, true>> = {
  default: true,
  unparsed: true,
  established: true,
  essential: true,
  hash_key: true,
  protect: true,
  anomalies: true,
  bans: true,
  syn_protection: true,
}

const NUMBER_NAMES = SETTING_NAMES.filter((name) => !(name in WORDS)) as readonly NumberName[]

const numbersOf = (from: Numbers): Numbers =>
  Object.fromEntries(NUMBER_NAMES.map((name) => [name, from[name]])) as unknown as Numbers

const bitOf = (group: EssentialGroup): number => ESSENTIAL[group.toUpperCase() as Uppercase<EssentialGroup>]

const bitsOf = (groups: readonly EssentialGroup[]): number => groups.reduce((bits, group) => bits | bitOf(group), 0)

/** Fields of the line; `flags` may be completed with flags that are no settings. */
export const settingsFields = (policy: Policy): Pick<Settings, 'flags'> & Numbers => ({
  ...numbersOf(policy),
  flags:
    ((policy.default === 'drop' ? SETTINGS_FLAG.DEFAULT_DROP : 0) |
      (policy.unparsed === 'drop' ? SETTINGS_FLAG.UNPARSED_DROP : 0) |
      (policy.established === 'pass' ? SETTINGS_FLAG.ESTABLISHED : 0) |
      ((bitsOf(policy.essential) ^ ESSENTIAL_DEFAULT) << ESSENTIAL_SHIFT) |
      bansFlags(policy.bans)) >>>
    0,
})

/**
 * The section of settings: the key of the hash, if there is one, protected prefixes, and the protection of ports.
 *
 * @param receiveMax net.core.rmem_max of the host
 */
export function settingLines({ hash_key: digits, protect, syn_protection }: Policy, receiveMax = 0): Uint32Array {
  const keys = digits === '' ? 0 : 1
  const lines = makeLines(keys + protect.length)
  const view = viewOf(lines)
  if (keys > 0) {
    const bytes = Buffer.from(digits, 'hex')
    hashKeyCodec.encode({ word: [bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(8)] }, view)
  }
  for (const [i, text] of protect.entries()) {
    const element = parseProtect(text)
    if (element) encodeProtected(element, view, (keys + i) * LINE_SIZE)
  }
  return joinLines(lines, synLines(syn_protection, receiveMax))
}

/** The texts of protected prefixes. */
function protectOf(lines: Uint32Array): readonly string[] {
  const view = viewOf(lines)
  return protectTexts(
    Array.from({ length: ratesStart(lines) }, (_, i) => decodeProtected(view, i * LINE_SIZE) ?? []).flat(),
  )
}

/** 32 hex digits; empty: none. */
function hashKeyOf(lines: Uint32Array): string {
  if (!hasHashKey(lines)) return ''
  const bytes = Buffer.alloc(16)
  for (const [i, word] of hashKeyCodec.decode(viewOf(lines)).word.entries()) bytes.writeBigUInt64LE(word, i * 8)
  return bytes.toString('hex')
}

/** Where an image has its settings. */
export interface SettingLines {
  readonly settings: Settings
  readonly sections: Pick<Sections, 'SETTINGS' | 'INTERFACES'>
}

/** The settings that an image holds. */
export const policyOf = ({ settings, sections }: SettingLines): Policy => ({
  ...numbersOf(settings),
  default: settings.flags & SETTINGS_FLAG.DEFAULT_DROP ? 'drop' : 'pass',
  unparsed: settings.flags & SETTINGS_FLAG.UNPARSED_DROP ? 'drop' : 'pass',
  established: settings.flags & SETTINGS_FLAG.ESTABLISHED ? 'pass' : 'judge',
  essential: ESSENTIAL_GROUPS.filter(
    (group) => ((settings.flags >>> ESSENTIAL_SHIFT) ^ ESSENTIAL_DEFAULT) & bitOf(group),
  ),
  hash_key: hashKeyOf(sections.SETTINGS),
  protect: protectOf(sections.SETTINGS),
  anomalies: decodeInterfaces(sections.INTERFACES).anomalies,
  bans: bansOf(settings),
  syn_protection: decodeSyn(sections.SETTINGS).text,
})
