// xdp schema

import { readFileSync } from 'node:fs'
import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { shipped } from '../../shipped.ts'
import { choose } from '../cli/choose.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'
import { SCHEMA_NAMES } from '../cli/schema-names.ts'
import { schemaFile } from './schema-file.ts'

function textOf(file: string): string {
  const own = shipped(`schemas/${file}`)
  if (own !== undefined) return new TextDecoder().decode(own)
  const found = schemaFile(file)
  if (found !== undefined) return readFileSync(found, 'utf8')
  throw fail('E110', `${file} is not where it was installed`, 'reinstall the package, or run npm run build')
}

export async function run({ stdout }: Context, { positionals }: Arguments<typeof NO_FLAGS>): Promise<Exit> {
  const [wanted = 'config'] = positionals
  const name = choose(SCHEMA_NAMES, wanted, `there is no schema "${wanted}"`)
  stdout(textOf(`${name === 'config' ? 'xdp' : name}.schema.json`))
  return EXIT.ok
}
