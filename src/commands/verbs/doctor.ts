// xdp doctor

import { EXIT, type Exit, XdpError } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { examine } from '../../pipelines/host.ts'
import { renderDoctor, renderDoctorJson } from '../../render/doctor.ts'
import type { Check } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import { loadIfAny } from './config.ts'

/** Reports an invalid config as a failed check, so that doctor still checks the host. */
async function checkConfig(context: Context): Promise<{ check: Check; desired: Desired | undefined }> {
  const id = 'config'
  try {
    const desired = (await loadIfAny(context))?.desired
    const message = desired ? `${desired.config.path} is valid` : 'no config file; checked only the host'
    const fix = desired ? undefined : 'xdp doctor -f FILE'
    return { check: { id, level: desired ? 'ok' : 'warn', message, fix }, desired }
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    const message = error.diagnostics[0]?.message ?? 'the config is invalid'
    return { check: { id, level: 'fail', message, fix: 'xdp validate' }, desired: undefined }
  }
}

export async function run(context: Context): Promise<Exit> {
  const { check, desired } = await checkConfig(context)
  const checks = [...(await examine(context.host, desired)), check]
  context.stdout(context.flags.json ? renderDoctorJson(checks) : renderDoctor(checks, context.color.stdout))
  return checks.some(({ level }) => level === 'fail') ? EXIT.failed : EXIT.ok
}
