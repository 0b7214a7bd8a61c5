// xdp schema

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'

type Schema = Promise<{ readonly default: object }>

/** The bundle contains the schemas, so that they always match the program. */
const SCHEMAS: Readonly<Record<string, () => Schema>> = {
  config: () => import('../../../schemas/xdp.schema.json', { with: { type: 'json' } }),
  plan: () => import('../../../schemas/plan.schema.json', { with: { type: 'json' } }),
  apply: () => import('../../../schemas/apply.schema.json', { with: { type: 'json' } }),
  watch: () => import('../../../schemas/watch.schema.json', { with: { type: 'json' } }),
  status: () => import('../../../schemas/status.schema.json', { with: { type: 'json' } }),
  stats: () => import('../../../schemas/stats.schema.json', { with: { type: 'json' } }),
  why: () => import('../../../schemas/why.schema.json', { with: { type: 'json' } }),
  ban: () => import('../../../schemas/ban.schema.json', { with: { type: 'json' } }),
  bans: () => import('../../../schemas/bans.schema.json', { with: { type: 'json' } }),
  validate: () => import('../../../schemas/validate.schema.json', { with: { type: 'json' } }),
  doctor: () => import('../../../schemas/doctor.schema.json', { with: { type: 'json' } }),
  import: () => import('../../../schemas/import.schema.json', { with: { type: 'json' } }),
  error: () => import('../../../schemas/error.schema.json', { with: { type: 'json' } }),
}

export async function run({ stdout }: Context, { positionals }: Arguments<typeof NO_FLAGS>): Promise<Exit> {
  const [name = 'config'] = positionals
  const load = Object.hasOwn(SCHEMAS, name) ? SCHEMAS[name] : undefined
  if (load === undefined) {
    const meant = nearest(name, Object.keys(SCHEMAS))
    const hint = meant === undefined ? `write one of ${Object.keys(SCHEMAS).join(', ')}` : `did you mean ${meant}?`
    throw fail('E300', `"${name}" is not a schema`, hint)
  }
  const schema = await load()
  stdout(`${JSON.stringify(schema.default, null, 2)}\n`)
  return EXIT.ok
}
