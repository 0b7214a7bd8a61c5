// Imports from text, in the form of test tables.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Loaded } from '../../src/config/load.ts'
import { type Composed, compose } from '../../src/import/document.ts'
import { importFrom } from '../../src/import/import.ts'
import type { Ignorable, Imported, ImportedList, Printed, SourceName } from '../../src/import/source.ts'
import type { Ranges } from '../../src/model/address.ts'
import { WIDTH } from '../../src/model/ranges.ts'
import { scopeKey } from '../../src/model/state.ts'
import { formatRange } from '../../src/model/text.ts'
import { loadText } from './config.ts'

/** Real output of a tool: test/unit/import/captured. */
export const captured = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../unit/import/captured', name), 'utf8')

const printed = (name: string, text: string): Printed => ({ name, bytes: Buffer.from(text) })

interface Around {
  readonly interfaces?: readonly string[]
  readonly beside?: readonly string[]
  readonly ignore?: readonly Ignorable[]
}

export function importText(
  from: SourceName,
  text: string,
  { interfaces = [], beside = [], ignore = [] }: Around = {},
): Imported {
  const others = beside.map((other, index) => printed(`beside${index + 1}`, other))
  return importFrom(from, { ...printed('in', text), interfaces, beside: others, ignore })
}

const texts = ({ family, length, start, end }: Ranges): string[] =>
  Array.from({ length }, (_, index) => formatRange(family, start, end, index * WIDTH[family]))

/** `block bad tcp dport 22: 192.0.2.0/24 198.51.100.7`; `-` for an entry without a name. */
export function rowOf({ kind, name, scope, addresses }: ImportedList): string {
  const all = [...texts(addresses.v4), ...texts(addresses.v6)].join(' ')
  return `${kind.replace('list', '')} ${name ?? '-'} ${scopeKey(scope)}: ${all}`
}

export const rows = ({ lists }: Imported): string[] => lists.map(rowOf)

/** Messages about rules that were left out, each with its line. */
export const losses = ({ leftOut }: Pick<Imported, 'leftOut'>): string[] =>
  leftOut.map(({ at, message }) => (at === undefined ? message : `${at.line}: ${message}`))

export function composeAll(imported: Imported, from: SourceName = 'nft', files = true): Composed {
  const schema = './schemas/xdp.schema.json'
  return compose(imported, { from, source: 'in', interfaces: [{ name: 'eth0', mode: undefined }], schema, files })
}

/** The config that an import creates, loaded as commands do it. */
export function load({ config, files }: Composed): Promise<Loaded> {
  return loadText(config, Object.fromEntries(files.map(({ path, content }) => [path, content])))
}
