// The strongest test of a kernel: loads the programs that apply would load, then removes them.

import { randomBytes } from 'node:crypto'
import { shownProgram } from '../../abi/answer.ts'
import { XdpError } from '../../diagnostics.ts'
import { ALL_PARTS } from '../../features/features.ts'
import { askBpftool, runBpftool } from '../tools/bpftool.ts'
import { loadObject, withObjects } from '../tools/object.ts'
import { removePins } from '../tools/pins.ts'
import { CommandError } from '../tools/spawn.ts'

export type Trial =
  | { readonly outcome: 'loaded'; readonly jited: boolean }
  | { readonly outcome: 'refused'; readonly words: string }
  | { readonly outcome: 'skipped'; readonly why: string }

/** Prefix of trial pins; the pid follows, to find those of a killed doctor. */
export const TRIAL = 'xdp-doctor-'

/**
 * Loads the objects with all their parts into a temporary directory in the bpffs and removes it. Attaches nothing, so no packet reaches
 * them. Needs permission, bpftool and the bpffs. Takes as long as the verifier: about a second.
 */
export async function tryLoading(bpffs: string): Promise<Trial> {
  const directory = `${bpffs}/${TRIAL}${process.pid}-${randomBytes(3).toString('hex')}`
  try {
    await withObjects(await loadObject(), ALL_PARTS, async (paths) => {
      for (const path of paths) await runBpftool('prog', 'loadall', path, directory)
    })
    const program = await askBpftool(shownProgram, 'prog', 'show', 'pinned', `${directory}/xdp_filter`)
    return { outcome: 'loaded', jited: program.jited === true }
  } catch (error) {
    if (error instanceof CommandError) return { outcome: 'refused', words: error.words || error.message }
    if (error instanceof XdpError) return { outcome: 'skipped', why: error.diagnostics[0]?.message ?? error.message }
    throw error
  } finally {
    await removePins(directory).catch(() => undefined)
  }
}
