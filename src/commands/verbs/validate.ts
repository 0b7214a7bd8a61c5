// xdp validate

import { EXIT, type Exit } from '../../diagnostics.ts'
import { renderValidate, renderValidateJson } from '../../render/validate.ts'
import type { Context } from '../cli/context.ts'
import { addressesIfAny, load, showWarnings } from './config.ts'

export async function run(context: Context): Promise<Exit> {
  const { desired, warnings } = await load(context, { missing: 'warn', readHost: addressesIfAny })
  if (!context.flags.json) showWarnings(context, warnings)
  context.stdout(context.flags.json ? renderValidateJson(desired, warnings) : renderValidate(desired))
  return EXIT.ok
}
