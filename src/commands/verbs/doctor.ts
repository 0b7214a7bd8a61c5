// xdp doctor

import { CODES, EXIT, type Exit, fail, XdpError } from '../../diagnostics.ts'
import { openStore } from '../../fetch/store.ts'
import type { Desired } from '../../model/desired.ts'
import { nearest } from '../../model/nearest.ts'
import { formatCount, plural } from '../../model/numbers.ts'
import { examine } from '../../pipelines/host.ts'
import { renderBackendScript } from '../../render/backend-script.ts'
import { renderDoctor, renderDoctorJson } from '../../render/doctor.ts'
import { formatDuration } from '../../render/duration.ts'
import type { Check } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { DOCTOR_FLAGS } from '../cli/flags.ts'
import { copiesOf, load, loadIfAny } from './config.ts'

/** The age of the copies of sources that the config names. */
function checkSources(context: Context, named: ReadonlySet<string>): readonly Check[] {
  const store = openStore(copiesOf(context).directory, context.host.copies?.uid ?? 0)
  const copies = store.all().filter(({ path }) => named.has(path))
  const id = 'sources'
  if (named.size === 0) return []
  const failed = copies.filter(({ problem }) => problem !== undefined)
  const oldest = Math.min(...copies.map(({ goodAt = 0 }) => goodAt))
  const age =
    copies.length === 0 ? 'of unknown age' : `checked ${formatDuration(Date.now() - oldest * 1000)} ago or later`
  const [first] = failed
  if (first === undefined)
    return [{ id, level: 'ok', message: `${plural(named.size, 'copy', 'copies')}, ${age}`, fix: undefined }]
  const message = `${formatCount(failed.length)} of ${formatCount(named.size)} sources failed: ${first.problem}`
  return [{ id, level: 'warn', message, fix: 'xdp fetch' }]
}

/** Reports an invalid config as a failed check, so that doctor still checks the host. */
async function checkConfig(context: Context): Promise<{ checks: readonly Check[]; desired: Desired | undefined }> {
  const id = 'config'
  try {
    const loaded = await loadIfAny(context)
    const desired = loaded?.desired
    const message = desired ? `${desired.config.path} is valid` : 'no config file; checked only the host'
    const fix = desired ? undefined : 'xdp doctor -f FILE'
    const sources = loaded ? checkSources(context, loaded.copies) : []
    return { checks: [{ id, level: desired ? 'ok' : 'warn', message, fix }, ...sources], desired }
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    const [first] = error.diagnostics
    const message = first?.message ?? 'the config is invalid'
    const fix = first && CODES[first.code].name === 'never-fetched' ? 'xdp fetch' : 'xdp validate'
    return { checks: [{ id, level: 'fail', message, fix }], desired: undefined }
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
  const { checks: own, desired } = await checkConfig(context)
  const checks = [...(await examine(context.host, desired)), ...own]
  context.stdout(context.flags.json ? renderDoctorJson(checks) : renderDoctor(checks, context.color.stdout))
  return checks.some(({ level }) => level === 'fail') ? EXIT.failed : EXIT.ok
}
