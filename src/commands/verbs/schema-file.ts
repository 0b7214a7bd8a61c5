// Where schemas are on this host.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { isExecutable } from '../../shipped.ts'

/** Where the Debian package and the RPM have it: the executable holds schemas in itself, where no editor finds them. */
const INSTALLED = '/usr/share/xdp-as-code/xdp.schema.json'

/** Beside the bundle when installed; in `build/` when run from the sources. */
const PLACES = ['./schemas/', '../../../build/schemas/'].map((place) => new URL(place, import.meta.url))

/** Path of a schema beside the program; undefined in the executable, and if it is missing. */
export function schemaFile(name: string): string | undefined {
  if (isExecutable) return undefined
  return PLACES.map((place) => fileURLToPath(new URL(name, place))).find((path) => existsSync(path))
}

/** Path of the config's schema for editors; undefined if only the executable has it. */
export const editorSchema = (): string | undefined =>
  schemaFile('xdp.schema.json') ?? (existsSync(INSTALLED) ? INSTALLED : undefined)
