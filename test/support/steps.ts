// Lowers plans from one policy to another, and carries them out over a fake kernel.

import { XdpError } from '../../src/diagnostics.ts'
import type { Lowering } from '../../src/features/feature.ts'
import type { Step } from '../../src/features/step.ts'
import { execute } from '../../src/kernel/execute/execute.ts'
import { lower } from '../../src/kernel/execute/lower.ts'
import type { Host } from '../../src/kernel/host/host.ts'
import { useRunner } from '../../src/kernel/tools/spawn.ts'
import type { Desired, InterfaceOptions } from '../../src/model/desired.ts'
import type { State } from '../../src/model/state.ts'
import { loweringOf, makePlan, targetOf } from '../../src/pipelines/prepare.ts'
import { type Session, sessionOf } from '../../src/pipelines/session.ts'
import { NONE_ACCEPTED } from '../../src/plan/feeds.ts'
import { FakeKernel } from './fake-kernel.ts'
import { desired } from './states.ts'

/** A fixed time, so that two runs write the same bytes. */
const NOW = 1_700_000_000

export const replacing = (wanted: State): Desired => {
  const options: Record<string, Partial<InterfaceOptions>> = {}
  for (const name of wanted.interfaces.keys()) options[name] = { onConflict: 'replace' }
  return desired(wanted, options)
}

export class Lab {
  readonly kernel = new FakeKernel()
  readonly session: Session
  readonly #restore: () => void

  constructor() {
    const host: Host = { bpffs: this.kernel.bpffs, instance: 'lab', lockTimeoutMs: 0 }
    this.session = sessionOf(host)
    this.#restore = useRunner(this.kernel.runner)
  }

  close(): void {
    this.#restore()
    this.kernel.close()
  }

  /** Lowers the plan from the live state to another, and gives the kernel the verdicts of its probes. */
  async lowering(wanted: State): Promise<Lowering> {
    const made = await makePlan(this.session, replacing(wanted), { now: NOW, ...NONE_ACCEPTED })
    const lowering = loweringOf(this.session, made, targetOf(made, true))
    this.kernel.expect(lowering.target.probes)
    return lowering
  }

  async steps(wanted: State): Promise<Step[]> {
    return lower(await this.lowering(wanted))
  }

  /** Carries out steps; returns `ok`, or the code of the XdpError. Throws other errors. */
  async run(steps: readonly Step[]): Promise<string> {
    const { host, paths } = this.session
    try {
      await execute(host, paths, steps)
      return 'ok'
    } catch (error) {
      if (error instanceof XdpError) return error.diagnostics[0]?.code ?? 'none'
      throw error
    }
  }

  async apply(wanted: State): Promise<string> {
    return this.run(await this.steps(wanted))
  }
}
