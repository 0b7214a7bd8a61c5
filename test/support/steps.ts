// Lowers plans from one policy to another, and carries them out over a fake kernel.

import { rmSync, writeFileSync } from 'node:fs'
import { XdpError } from '../../src/diagnostics.ts'
import type { Lowering } from '../../src/features/feature.ts'
import type { Step } from '../../src/features/step.ts'
import { execute } from '../../src/kernel/execute/execute.ts'
import { lower } from '../../src/kernel/execute/lower.ts'
import { GUARD } from '../../src/kernel/host/guardian.ts'
import type { Host } from '../../src/kernel/host/host.ts'
import { instanceFile } from '../../src/kernel/tools/exchange.ts'
import { type Output, useRunner } from '../../src/kernel/tools/spawn.ts'
import type { Desired, InterfaceOptions } from '../../src/model/desired.ts'
import type { State } from '../../src/model/state.ts'
import { startClock } from '../../src/pipelines/confirm.ts'
import { makePlan } from '../../src/pipelines/prepare.ts'
import { type Session, sessionOf } from '../../src/pipelines/session.ts'
import { loweringOf, targetOf } from '../../src/pipelines/target.ts'
import { NONE_ACCEPTED } from '../../src/plan/feeds.ts'
import { FakeKernel } from './fake-kernel.ts'
import { desired } from './states.ts'

/** A fixed time, so that two runs write the same bytes. */
const NOW = 1_700_000_000

const CONFIG = { path: '/etc/xdp/xdp.yaml', sha256: '0'.repeat(64) }
const DONE: Output = { stdout: '', stderr: '', exitCode: 0 }

export const replacing = (wanted: State): Desired => {
  const options: Record<string, Partial<InterfaceOptions>> = {}
  for (const name of wanted.interfaces.keys()) options[name] = { onConflict: 'replace' }
  return desired(wanted, options)
}

export class Lab {
  readonly kernel = new FakeKernel()
  readonly session: Session
  readonly #restore: () => void
  /** Whether the guardian holds its lock. */
  hasGuardian = false
  #lock = ''

  constructor() {
    const host: Host = { bpffs: this.kernel.bpffs, instance: 'lab', lockTimeoutMs: 0, self: ['node', 'xdp'] }
    this.session = sessionOf(host)
    this.#restore = useRunner((tool, argv, input) => {
      if (tool === 'setsid') return this.#startGuardian(argv[argv.indexOf(GUARD) + 1] as string)
      if (tool === 'flock') return Promise.resolve({ ...DONE, exitCode: this.hasGuardian ? 1 : 0 })
      return this.kernel.runner(tool, argv, input)
    })
  }

  close(): void {
    this.#restore()
    rmSync(this.#lock, { force: true })
    this.kernel.close()
  }

  /** A process that holds the lock of a guardian and does nothing else. */
  async #startGuardian(id: string): Promise<Output> {
    const { bpffs, instance } = this.session.host
    this.#lock = await instanceFile(bpffs, instance, `guardian-${id}.lock`)
    writeFileSync(this.#lock, '')
    this.hasGuardian = true
    return DONE
  }

  /** Moves the deadline of a confirmation to now. */
  expire = (id: string): Promise<void> => startClock(this.session.host, id, 0)

  /**
   * Lowers the plan from the live state to another, and gives the kernel the verdicts of its probes.
   *
   * @param id of the confirmation that the apply waits for
   */
  async lowering(wanted: State, id?: string): Promise<Lowering> {
    const made = await makePlan(this.session, replacing(wanted), { now: NOW, ...NONE_ACCEPTED })
    const lowering = loweringOf(
      this.session,
      made,
      targetOf(made, true, id === undefined ? undefined : { id, milliseconds: 60_000, config: CONFIG, on: undefined }),
    )
    this.kernel.expect(lowering.target.probes)
    return lowering
  }

  async steps(wanted: State, id?: string): Promise<Step[]> {
    return lower(await this.lowering(wanted, id))
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
