// A host whose directories have no room: small or read-only file systems over them, seen by one command alone.

import { EDIT } from './operations.ts'
import { expectOnly, type Scene } from './scene.ts'

/** A directory that a command writes to. */
export type Place = 'run' | 'state' | 'cache'
/** KiB of a tmpfs, or a read-only one. */
export type Room = number | 'read-only'

export const PLACES: readonly Place[] = ['run', 'state', 'cache']
export const ROOMS: readonly Room[] = ['read-only', 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]

const directoryOf = ({ lab }: Scene, place: Place): string =>
  ({ run: '/run', state: lab.state, cache: lab.cache })[place]

/** Only /run is needed: without it nothing is changed, and the message names it. */
const NEEDED: Place = 'run'

/** Applies an edit where a directory has this room, and checks everything about it; returns what is wrong. */
export async function visitWithRoom(scene: Scene, place: Place, room: Room): Promise<string | undefined> {
  const { lab } = scene
  const directory = directoryOf(scene, place)
  try {
    const { from, to } = await EDIT.prepare(scene)
    await scene.flow.rounds()
    const options = room === 'read-only' ? 'ro,mode=700' : `size=${room}k,mode=700`
    const script = `mkdir -p ${directory}; mount -t tmpfs -o ${options} none ${directory}; exec "$@"`
    const { exitCode, stderr } = await lab.xdpWithin(
      ['unshare', '--mount', 'sh', '-ec', script, 'sh'],
      ...['apply', '--auto-approve'],
    )
    const rounds = await scene.flow.rounds()
    expectOnly(rounds, new Set([from, to]))
    const last = rounds.at(-1)?.verdict
    if (last !== (exitCode === 0 ? to : from))
      throw new Error(`status ${exitCode}, but the policy is ${last}: ${stderr}`)
    if (exitCode !== 0 && (place !== NEEDED || !stderr.includes('E115'))) throw new Error(`${exitCode}: ${stderr}`)
    await EDIT.converge(scene, [])
    return undefined
  } catch (error) {
    return `room of ${room} at ${place}: ${error instanceof Error ? error.message : String(error)}`
  }
}
