// xdp doctor

import { EXIT, type Exit, fail, XdpError } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { nearest } from '../../model/nearest.ts'
import { examine } from '../../pipelines/host.ts'
import { renderBackendScript } from '../../render/backend-script.ts'
import { renderDoctor, renderDoctorJson } from '../../render/doctor.ts'
import type { Check } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { DOCTOR_FLAGS } from '../cli/flags.ts'
import { load, loadIfAny } from './config.ts'

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

/** Prints the script for the backends of a service. Throws E300 for a name that the file does not have. */
async function printScript(context: Context, name: string): Promise<Exit> {
  if (context.flags.json) throw fail('E300', '--backend-script prints a shell script, not JSON', 'leave --json out')
  const { services } = (await load(context)).desired.state
  const service = services.get(name)
  if (!service) {
    const known = [...services.keys()].sort()
    const meant = nearest(name, known)
    const hint = meant === undefined ? `services are ${known.slice(0, 8).join(', ')}` : `did you mean ${meant}?`
    throw fail('E300', `the file has no service "${name}"`, known.length === 0 ? 'it has no services' : hint)
  }
  context.stdout(renderBackendScript(service))
  return EXIT.ok
}

export async function run(context: Context, { options }: Arguments<typeof DOCTOR_FLAGS>): Promise<Exit> {
  const script = options['backend-script']
  if (script !== undefined) return printScript(context, script)
  const { check, desired } = await checkConfig(context)
  const checks = [...(await examine(context.host, desired)), check]
  context.stdout(context.flags.json ? renderDoctorJson(checks) : renderDoctor(checks, context.color.stdout))
  return checks.some(({ level }) => level === 'fail') ? EXIT.failed : EXIT.ok
}
