// The session that docs/demo.svg shows.
import { run } from './run.mjs'

/** Plays the session on a stage of its own; resolves to what a terminal would show. */
export async function sessionOfPicture(env = {}) {
  const { stdout } = await run(process.execPath, ['scripts/demo.mjs', '--picture'], {
    env: { ...process.env, NO_COLOR: '', ...env },
  })
  return stdout.replace(/^(?:(?:build|setup): .*\n)+/, '').trim()
}
